-- Purpose:    the last finished generation of one execution.
-- Parameters: ?1 id.
-- Index:      the primary key of history, read backwards.
select
    id, generation, job, scope_kind, scope_id, slot_at, due_at, expires_at, priority, payload, unique_key,
    max_attempts, lease_ms, reentry, supersede, limit_key, limit_max, audit, created_at, state, claimable_at,
    attempt, fence, token, runner, claimed_at, started_at, heartbeat_at, lease_expires_at, cancel_requested_at,
    finished_at, duration_ms, rows_affected, result, error_code, error_text, skip_reason, updated_at,
    trace, progress
from history
where id = ?1
order by generation desc
limit 1
