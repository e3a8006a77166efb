-- Purpose:    a page of items of one queue, live and finished.
-- Parameters: ?1 queue; ?2 states as a JSON array, empty for all; ?3 and ?4 scope kind and id or null; ?5 unique key
--             or null; ?6 now (microseconds since 1970) for due ones only, else null; ?7 order: created, updated,
--             claimable, priority; ?8 1 for ascending, -1 for descending; ?9 how many to pass over; ?10 how many;
--             ?11 whether only the newest generation of each counts.
-- Index:      execution_claim and history_item; what they find is sorted, since an operator may ask for any order.
-- Why:        a key times its direction turns numbers round; ids have no sign, hence two terms, one of them null.
select
    id, generation, job, scope_kind, scope_id, slot_at, due_at, expires_at, priority, payload, unique_key,
    max_attempts, lease_ms, reentry, supersede, limit_key, limit_max, audit, created_at, state, claimable_at,
    attempt, fence, token, runner, claimed_at, started_at, heartbeat_at, lease_expires_at, cancel_requested_at,
    finished_at, duration_ms, rows_affected, result, error_code, error_text, skip_reason, updated_at,
    trace, progress
from (
    select * from execution where case when slot_at is null then job else '' end = ?1
    union all
    select * from history where job = ?1 and slot_at is null
) as i
where (?2 = '[]' or state in (select value from json_each(?2)))
    and (?3 is null or (scope_kind = ?3 and scope_id = ?4))
    and (?5 is null or unique_key = ?5)
    and (?6 is null or (state <> 'running' and claimable_at <= ?6))
    and (not ?11 or not exists (
        select 1 from execution as e where e.id = i.id and e.generation > i.generation
        union all
        select 1 from history as h where h.id = i.id and h.generation > i.generation
    ))
order by
    ?8 * case ?7
        when 'created' then created_at
        when 'updated' then updated_at
        when 'claimable' then coalesce(claimable_at, 9223372036854775807)
        else priority
    end,
    case when ?8 > 0 then id end,
    case when ?8 < 0 then id end desc,
    ?8 * generation
limit ?10 offset ?9
