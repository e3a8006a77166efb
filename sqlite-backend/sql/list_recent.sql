-- Purpose:    a page of executions, live and finished, those that changed last first.
-- Parameters: ?1 job or null; ?2 and ?3 scope kind and id or null; ?4 states as a JSON array, empty for all; ?5, ?6, ?7
--             last change, id and generation that the page begins after, the greatest there are for the first page;
--             ?8 how many.
-- Index:      history_finished from its end (a finished row never changes again). Live rows are few, and are sorted.
-- Why:        each side gives a page at most, so that a long history is not sorted.
select
    id, generation, job, scope_kind, scope_id, slot_at, due_at, expires_at, priority, payload, unique_key,
    max_attempts, lease_ms, reentry, supersede, limit_key, limit_max, audit, created_at, state, claimable_at,
    attempt, fence, token, runner, claimed_at, started_at, heartbeat_at, lease_expires_at, cancel_requested_at,
    finished_at, duration_ms, rows_affected, result, error_code, error_text, skip_reason, updated_at,
    trace, progress
from (
    select * from (
        select * from execution
        where (updated_at, id, generation) < (?5, ?6, ?7)
            and (?1 is null or job = ?1)
            and (?2 is null or (scope_kind = ?2 and scope_id = ?3))
            and (?4 = '[]' or state in (select value from json_each(?4)))
        order by updated_at desc, id desc, generation desc
        limit ?8
    )
    union all
    select * from (
        select * from history indexed by history_finished
        where (finished_at, id, generation) < (?5, ?6, ?7)
            and (?1 is null or job = ?1)
            and (?2 is null or (scope_kind = ?2 and scope_id = ?3))
            and (?4 = '[]' or state in (select value from json_each(?4)))
        order by finished_at desc, id desc, generation desc
        limit ?8
    )
)
order by updated_at desc, id desc, generation desc
limit ?8
