-- Purpose:    the live row of one execution.
-- Parameters: ?1 id (16 bytes).
-- Index:      the primary key of execution.
-- Why:        every guarded change reads the row, decides in Rust, and writes it back in the same transaction.
select
    id, generation, job, scope_kind, scope_id, slot_at, due_at, expires_at, priority, payload, unique_key,
    max_attempts, lease_ms, reentry, supersede, limit_key, limit_max, audit, created_at, state, claimable_at,
    attempt, fence, token, runner, claimed_at, started_at, heartbeat_at, lease_expires_at, cancel_requested_at,
    finished_at, duration_ms, rows_affected, result, error_code, error_text, skip_reason, updated_at,
    trace, progress
from execution
where id = ?1
