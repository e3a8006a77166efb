-- Purpose:    due rows of one priority, in claim order, for a queue with a rate.
-- Parameters: ?1 job names as a JSON array; ?2 now (microseconds since 1970); ?3 priority; ?4 how many; ?5 microseconds from
--             one turn of a key to the next.
-- Index:      as select_claimable.sql, and the primary key of rate_gate.
-- Why:        the same, and a row whose key has no turn is left out, too, also one that runs: to take it over is to run it
--             again. A statement of its own, so that nobody else pays for it.
select
    id, generation, job, scope_kind, scope_id, slot_at, due_at, expires_at, priority, payload, unique_key,
    max_attempts, lease_ms, reentry, supersede, limit_key, limit_max, audit, created_at, state, claimable_at,
    attempt, fence, token, runner, claimed_at, started_at, heartbeat_at, lease_expires_at, cancel_requested_at,
    finished_at, duration_ms, rows_affected, result, error_code, error_text, skip_reason, updated_at
from execution as e indexed by execution_claim
where priority = ?3
    and claimable_at is not null
    and claimable_at <= ?2
    and job in (select value from json_each(?1))
    and (
        limit_key is null
        or state = 'running'
        or limit_max > (
            select count(*)
            from execution as r indexed by execution_limit
            where r.limit_key = e.limit_key and r.state = 'running'
        )
    )
    and (
        limit_key is null
        or not exists (
            select 1
            from rate_gate as g
            where g.key = e.limit_key and min(g.opens_at, g.charged_at + ?5) > ?2
        )
    )
    and (
        slot_at is null
        or not exists (
            select 1
            from pause as p indexed by pause_in_force
            where p.job = e.job
                and p.resumed_at is null
                and (p.scope_kind = '' or (p.scope_kind = e.scope_kind and p.scope_id = e.scope_id))
        )
    )
order by claimable_at, id
limit ?4
