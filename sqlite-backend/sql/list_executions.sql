-- Purpose:    a page of executions, live and finished, ordered by (id, generation).
-- Parameters: ?1 job or null; ?2 states as a JSON array, empty for all; ?3 and ?4 least and greatest id; ?5 least
--             generation for the least id; ?6 how many.
-- Index:      the primary keys of execution and history, merged: a page costs what it returns plus what it filters.
-- Why:        the row value after which a page continues becomes a range on id, so that both sides can seek.
select
    id, generation, job, scope_kind, scope_id, slot_at, due_at, expires_at, priority, payload, unique_key,
    max_attempts, lease_ms, reentry, supersede, limit_key, limit_max, audit, created_at, state, claimable_at,
    attempt, fence, token, runner, claimed_at, started_at, heartbeat_at, lease_expires_at, cancel_requested_at,
    finished_at, duration_ms, rows_affected, result, error_code, error_text, skip_reason, updated_at,
    trace, progress
from (
    select * from execution where id between ?3 and ?4
    union all
    select * from history where id between ?3 and ?4
)
where (id > ?3 or generation >= ?5)
    and (?1 is null or job = ?1)
    and (?2 = '[]' or state in (select value from json_each(?2)))
order by id, generation
limit ?6
