-- Purpose:    expired running rows that no claim may take, oldest expiry first.
-- Parameters: ?1 now (microseconds since 1970); ?2 how many.
-- Index:      execution_rescue for range and order.
select
    id, generation, job, scope_kind, scope_id, slot_at, due_at, expires_at, priority, payload, unique_key,
    max_attempts, lease_ms, reentry, supersede, limit_key, limit_max, audit, created_at, state, claimable_at,
    attempt, fence, token, runner, claimed_at, started_at, heartbeat_at, lease_expires_at, cancel_requested_at,
    finished_at, duration_ms, rows_affected, result, error_code, error_text, skip_reason, updated_at,
    trace, progress
from execution indexed by execution_rescue
where state = 'running' and claimable_at is null and lease_expires_at < ?1
order by lease_expires_at, id
limit ?2
