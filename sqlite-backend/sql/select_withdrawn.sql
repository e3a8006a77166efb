-- Purpose:    live rows that were written in a future which the database clock has withdrawn.
-- Parameters: ?1 now (microseconds since 1970).
-- Index:      none, on purpose: it runs once after the clock stepped back; an index on updated_at would be written
--             by every verb.
select
    id, generation, job, scope_kind, scope_id, slot_at, due_at, expires_at, priority, payload, unique_key,
    max_attempts, lease_ms, reentry, supersede, limit_key, limit_max, audit, created_at, state, claimable_at,
    attempt, fence, token, runner, claimed_at, started_at, heartbeat_at, lease_expires_at, cancel_requested_at,
    finished_at, duration_ms, rows_affected, result, error_code, error_text, skip_reason, updated_at,
    trace, progress
from execution
where updated_at > ?1
order by id
