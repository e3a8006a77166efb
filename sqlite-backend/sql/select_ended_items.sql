-- Purpose:    items of one queue that ended long enough ago, as their newest generation, oldest finish first.
-- Parameters: ?1 queue; ?2 states as a JSON array; ?3 finished before (microseconds since 1970); ?4 how many.
-- Index:      history_item for range and order; the primary keys to pass over items that live, or ended again since.
select
    id, generation, job, scope_kind, scope_id, slot_at, due_at, expires_at, priority, payload, unique_key,
    max_attempts, lease_ms, reentry, supersede, limit_key, limit_max, audit, created_at, state, claimable_at,
    attempt, fence, token, runner, claimed_at, started_at, heartbeat_at, lease_expires_at, cancel_requested_at,
    finished_at, duration_ms, rows_affected, result, error_code, error_text, skip_reason, updated_at,
    trace, progress
from history as h indexed by history_item
where job = ?1
    and slot_at is null
    and finished_at < ?3
    and state in (select value from json_each(?2))
    and not exists (select 1 from execution as e where e.id = h.id)
    and not exists (select 1 from history as n where n.id = h.id and n.generation > h.generation)
order by finished_at, id
limit ?4
