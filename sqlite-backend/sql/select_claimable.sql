-- Purpose:    due rows of one lane and priority, in claim order.
-- Parameters: ?1 job names as a JSON array; ?2 now (microseconds since 1970); ?3 priority; ?4 how many; ?5 microseconds from
--             one turn of a limit key to the next, null without a rate; ?6 lane.
-- Index:      execution_claim for lane, range and order; execution_limit to count what runs under a limit key; the primary
--             key of rate_gate; pause_in_force, nearly always empty, for rows with a slot.
-- Why:        rows whose limit key is full are left out *here*, not afterwards, or a page of them would hide the rows
--             behind it (G14). A running row counts already, so taking it over needs no room; it needs a turn, since that is
--             to run it again.
select
    id, generation, job, scope_kind, scope_id, slot_at, due_at, expires_at, priority, payload, unique_key,
    max_attempts, lease_ms, reentry, supersede, limit_key, limit_max, audit, created_at, state, claimable_at,
    attempt, fence, token, runner, claimed_at, started_at, heartbeat_at, lease_expires_at, cancel_requested_at,
    finished_at, duration_ms, rows_affected, result, error_code, error_text, skip_reason, updated_at,
    trace, progress
from execution as e indexed by execution_claim
where case when slot_at is null then job else '' end = ?6
    and priority = ?3
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
        ?5 is null
        or limit_key is null
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
