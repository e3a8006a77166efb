-- Takes leases on up to $4 due rows, in the order (priority, claimable_at, id); ends late and superseded ones.
--
-- $1 timestamptz  now, or null for the server's clock
-- $2 uuid         request id; the token of every row taken
-- $3 text[]       jobs that the claimer can run
-- $4 bigint       most rows looked at
-- $5 uuid         incarnation of the claimer
-- $6 text         which attempts are charged here: none (those are charged at start), harmless (see
--                  `can_lose_an_attempt` in transition.rs), all
-- At a rate also:
-- $7 bigint       microseconds from one turn of a key to the next
-- $8 bigint       turns that a key may take at once after a rest
-- $9 text         the limit key that all rows have in common, or null
--
-- Lines that end with [rate] are in the statement for queues with a rate alone, those with [no rate] in that for the others:
-- who has no rate pays nothing for it.
--
-- Answers a line of its own, with the time and what was skipped, and one for each row taken, in no order: "position"
-- has that of the claim. At a rate each line also has when the next key gets a turn. A repetition answers "is_repeated"
-- and takes nothing: see claim_again.sql.
--
-- Index: execution_claim. Its first column is the lane: the items of a queue have one to themselves, rows of schedules share one
-- without a name, so that a claim reads no row of another queue, however deep that one's backlog. In each lane one range per
-- distinct priority (the CTE lane is a loose index scan: one descent per distinct value). A single scan of (lane, priority,
-- claimable_at <= now) would walk all future rows of the index whenever fewer than $4 rows are due, which is every idle poll.
--
-- Shape. FOR UPDATE SKIP LOCKED LIMIT sits in a MATERIALIZED CTE: run again as a subquery it would lock more rows.
-- With k distinct priorities up to k * $4 rows are locked until the statement ends and $4 of them taken; others
-- skip them for that long. (That is why schedules do not have a lane for each job: a claim for all of a hundred jobs would lock
-- the rows that are due of each.) LockRows hands on the newest version of each row and rechecks the filter on it, so later
-- CTEs decide on what is locked; the writes join on the id alone, never on a column of the target that the
-- snapshot may show in an old version.
--
-- Two things keep the estimates, and with them the generic plan, small; without them it reads the whole table to
-- join, costs more than jit_above_cost, and is never preferred to planning anew (2 ms) for each call. {page} is a
-- constant of 10, 100 or 1000, at least $4: a LIMIT that the planner does not know counts as a tenth of the rows
-- below it. Rows are pulled one by one, so the outer LIMIT decides how many are locked. And lanes and priorities pass through
-- arrays and a range that is always true, which counts as the usual one priority, not as a recursion's hundred. (The names of
-- lanes are a subquery: unrolled from the parameter they count as few in a plan for these very jobs, and that looks cheaper.) The
-- writes then look their rows up one by one in the primary key, where what they write counts as few rows: what a condition
-- for null selects does, and what one for not null selects does not (hence "stays"). (They must not name their ids as an array as well: the
-- array becomes a second condition of each look-up, and a claim of n rows costs n * n.)
--
-- The opposite for the scan itself: it must look large, or the planner takes all due rows by bitmap and sorts them
-- (30 ms a claim at 10,000 due rows without statistics). Hence "case … end is not null" around the filters, which
-- counts as nearly all rows whatever is in it, and the statistics that 0001_init.sql leaves behind. (A coalesce counts as a
-- half: with three of them claims of 500 rows sorted backlogs of 10,000. Row comparisons were tried for the range: they
-- look large, but do not stop the scan at the last due row.)
--
-- What a pause holds is left out of the scan, too, for the same reason as rows without room: they would fill the page.
--
-- G15: the scan leaves out rows whose gate looks full (a stale read, only to fill the page with rows that can
-- run). The gates of the others are locked, which yields their newest count, and walk takes rows per key one by
-- one while there is room. A gate that another transaction holds is passed over, so a claim never waits for a
-- lock and is in no deadlock.
--
-- A row whose key has no gate is passed over, too, and its key answered in "gateless": see prune_gates.sql.
--
-- Rates: a gate has one instant, from when its next turn may be taken, and walk moves it with each row. The scan leaves out
-- rows whose gate is shut, also running ones: to take one over is to run it again. Where all rows have one key a shut gate
-- stops the scan before it begins, however deep the backlog. A gate that another claim holds is taken to be charged by it.
--
-- Two clocks: rows are due by the instant at which the scan began, and taken at one that is read behind the gates' locks.
-- Who made room there has read the clock before: else a row would run from before the end of the one that left.
with recursive
began as materialized (
    select coalesce($1::timestamptz, clock_timestamp()) as now
),
first as materialized (
    select from {schema}.receipt r where r.request = $2::uuid
),
lane (name, priority) as (
    select n.name, (select e.priority from {schema}.execution e where {lane:e} = n.name order by e.priority limit 1)
    from (select distinct unnest((select $3::text[] || ''::text))) as n (name)
    where not exists (select from first)
      and not exists (select from {schema}.limit_gate g where g.key = $9::text --[rate]
          and least(g.opens_at, g.charged_at + $7::bigint * interval '1 microsecond') > (select now from began)) --[rate]
    union all
    select l.name, (select e.priority from {schema}.execution e
                    where {lane:e} = l.name and e.priority > l.priority
                    order by e.priority limit 1)
    from lane l where l.priority is not null
),
due as materialized (
    select d.*
    from unnest(array(select l.name from lane l where l.priority is not null),
        array(select l.priority from lane l where l.priority is not null)) as p (lane, priority)
    cross join lateral (
        select l.* from (
            select e.id, e.generation, e.job, e.scope_kind, e.scope_id, e.slot_at, e.expires_at, e.priority,
                e.max_attempts, e.lease_ms, e.reentry, e.supersede, e.limit_key, e.limit_max, e.audit, e.state,
                e.claimable_at, e.attempt, e.fence, e.cancel_requested_at
            from {schema}.execution e
            where {lane:e} = p.lane and e.priority = p.priority and e.claimable_at <= (select now from began)
              and case when e.job = any ($3::text[]) then 1 end is not null
              and {is_free:e}
              and case when e.limit_key is null or e.state = 'running' or not exists (
                    select from {schema}.limit_gate g where g.key = e.limit_key and g.running >= e.limit_max)
                  then 1 end is not null
              and case when e.limit_key is null or not exists ( --[rate]
                    select from {schema}.limit_gate g where g.key = e.limit_key --[rate]
                      and least(g.opens_at, g.charged_at + $7::bigint * interval '1 microsecond') --[rate]
                          > (select now from began)) --[rate]
                  then 1 end is not null --[rate]
              and case when e.slot_at is null or not exists (
                    select from {schema}.pause p where p.job = e.job and p.resumed_at is null
                      and (p.scope_kind = '' or (p.scope_kind = e.scope_kind and p.scope_id = e.scope_id)))
                  then 1 end is not null
            order by e.claimable_at, e.id
            limit {page}
            for update of e skip locked
        ) l
        limit $4::bigint
    ) d
    where p.priority between -32768 and 32767
    order by d.priority, d.claimable_at, d.id
    limit $4::bigint
),
gate as materialized (
    select g.key, g.running
        , least(g.opens_at, g.charged_at + $7::bigint * interval '1 microsecond') as opens_at --[rate]
    from {schema}.limit_gate g
    where g.key = any (array(select distinct d.limit_key from due d where d.limit_key is not null))
    order by g.key
    for update skip locked
),
clock as materialized (
    select greatest(b.now, coalesce($1::timestamptz, clock_timestamp())) as now
    from began b cross join (select count(*) from due) d cross join (select count(*) from gate) g
),
judged as materialized (
    select d.*, row_number() over (order by d.priority, d.claimable_at, d.id) as ord, null::timestamptz as keeps_at, c.now,
        {is_charged:d} as is_charged,
        case
            when d.attempt > 0 then null
            when d.expires_at < c.now then case when d.slot_at is null then 'expired' else 'late' end
            when d.supersede = 'by_newer_slot' and d.slot_at < k.newest_slot then 'superseded'
        end as skip_with
    from due d
    cross join clock c
    left join {schema}.cursor k
        on k.job = d.job and k.scope_kind = d.scope_kind and k.scope_id = d.scope_id
),
-- Rows that enter running (taken from waiting) or leave it (skipped while running): these change a gate. At a rate also those
-- that are taken over, which need a turn and no room.
passing as materialized (
    select j.ord, j.limit_key, j.limit_max, j.state = 'running' as leaves --[no rate]
    select j.ord, j.limit_key, j.limit_max, j.skip_with is not null as leaves, j.state = 'running' as runs --[rate]
    from judged j
    where j.limit_key is not null and (j.skip_with is null) = (j.state <> 'running') --[no rate]
    where j.limit_key is not null and (j.skip_with is null or j.state = 'running') --[rate]
),
queue as materialized (
    select p.*, row_number() over (partition by p.limit_key order by p.ord) as step from passing p
),
walk (limit_key, step, ord, running, passes) as ( --[no rate]
    select g.key, 0::bigint, null::bigint, g.running, false from gate g --[no rate]
    union all --[no rate]
    select w.limit_key, q.step, q.ord, --[no rate]
        w.running + case when q.leaves then -1 when w.running < q.limit_max then 1 else 0 end, --[no rate]
        q.leaves or w.running < q.limit_max --[no rate]
    from walk w join queue q on q.limit_key = w.limit_key and q.step = w.step + 1 --[no rate]
), --[no rate]
walk (limit_key, step, ord, running, passes, opens_at) as ( --[rate]
    select g.key, 0::bigint, null::bigint, g.running, false, g.opens_at from gate g --[rate]
    union all --[rate]
    select w.limit_key, q.step, q.ord, --[rate]
        w.running + case when q.leaves then -1 when may.be and not q.runs then 1 else 0 end, --[rate]
        q.leaves or may.be, --[rate]
        case when may.be and not q.leaves --[rate]
            then greatest(w.opens_at, c.now - ($8::bigint - 1) * $7::bigint * interval '1 microsecond') --[rate]
                + $7::bigint * interval '1 microsecond' --[rate]
            else w.opens_at end --[rate]
    from walk w join queue q on q.limit_key = w.limit_key and q.step = w.step + 1 --[rate]
    cross join clock c --[rate]
    cross join lateral ( --[rate]
        select (q.runs or w.running < q.limit_max) and (w.opens_at > c.now) is not true as be) may --[rate]
), --[rate]
decided as materialized (
    select j.*, case when j.skip_with is null then true end as stays from judged j
    where not exists (select from passing p where p.ord = j.ord)
       or exists (select from walk w where w.ord = j.ord and w.passes)
),
taken as (
    update {schema}.execution e
    set {claimed_set:d}
    from decided d
    where e.id = d.id and d.skip_with is null
    returning d.ord as position, {claimed_columns:e}
),
gone as (
    delete from {schema}.execution e using decided d
    where e.id = d.id and d.stays is null
    returning e.*, d.skip_with
),
buried as (
    insert into {schema}.history ({kept_columns}, state, finished_at, updated_at, duration_ms, rows_affected,
        result, error_code, error_text, skip_reason)
    select {kept_columns:g}, 'skipped', c.now, c.now, g.duration_ms, g.rows_affected,
        g.result, g.error_code, g.error_text, g.skip_with
    from gone g cross join clock c
),
told as (
    insert into {schema}.audit ({audit_columns})
    select t.id, t.generation, t.fence + t.taken, case when t.taken = 1 then 1 when t.state = 'running' then 5 else 6 end,
        c.now, t.job, t.scope_kind, t.scope_id,
        case t.taken when 1 then 'runner' else 'system' end, case t.taken when 1 then $5::uuid::text else 'system' end,
        t.action,
        json_build_object('old_status', t.state, 'new_status', case t.taken when 1 then 'running' else 'skipped' end,
            'attempts', t.attempt + case when t.taken = 1 then t.is_charged::int else 0 end,
            'max_attempts', t.max_attempts, 'reason', t.skip_with)
    from (select d.*, (d.skip_with is null)::int as taken,
              case when d.skip_with is not null then 'job_skip' when d.state = 'running' then 'job_reclaim'
                  else 'job_claim' end as action
          from decided d where d.audit <> 'off') t
    cross join clock c
    where {schema}.tells(t.audit, t.action)
),
final as materialized ( --[rate]
    select distinct on (w.limit_key) w.limit_key, w.running, w.opens_at from walk w --[rate]
    order by w.limit_key, w.step desc --[rate]
), --[rate]
counted as (
    update {schema}.limit_gate g
    set running = f.running
        , queue = case when f.opens_at is distinct from was.opens_at then ($3::text[])[1] else g.queue end --[rate]
        , charged_at = case when f.opens_at is distinct from was.opens_at then c.now else g.charged_at end --[rate]
        , opens_at = case when f.opens_at is distinct from was.opens_at then f.opens_at else g.opens_at end --[rate]
        , turn_us = case when f.opens_at is distinct from was.opens_at then $7::bigint else g.turn_us end --[rate]
        , burst = case when f.opens_at is distinct from was.opens_at then $8::bigint else g.burst end --[rate]
    from final f --[rate]
    from (select distinct on (w.limit_key) w.limit_key, w.running from walk w --[no rate]
          order by w.limit_key, w.step desc) f --[no rate]
    join gate was on was.key = f.limit_key
    cross join clock c --[rate]
    where g.key = f.limit_key and f.running <> was.running --[no rate]
    where g.key = f.limit_key and (f.running <> was.running or f.opens_at is distinct from was.opens_at) --[rate]
),
opening as materialized ( --[rate]
    select min(o.opens_at) as next_at --[rate]
    from clock c cross join lateral ( --[rate]
        select least(g.opens_at, g.charged_at + $7::bigint * interval '1 microsecond') as opens_at --[rate]
        from {schema}.limit_gate g --[rate]
        where g.queue = ($3::text[])[1] and g.opens_at > c.now --[rate]
          and not exists (select from gate l where l.key = g.key) --[rate]
        union all --[rate]
        select f.opens_at from final f --[rate]
        union all --[rate]
        select c.now + $7::bigint * interval '1 microsecond' --[rate]
        where exists (select from due d where d.limit_key is not null --[rate]
            and not exists (select from gate l where l.key = d.limit_key)) --[rate]
    ) o --[rate]
    where o.opens_at > c.now --[rate]
), --[rate]
gateless as materialized (
    select json_agg(distinct d.limit_key)::text as keys from due d
    where d.limit_key is not null
      and not exists (select from gate g where g.key = d.limit_key)
      and not exists (select from {schema}.limit_gate g where g.key = d.limit_key)
),
skipped as materialized (
    select json_agg(json_build_array(d.id, d.skip_with) order by d.ord)::text as skipped
    from decided d where d.skip_with is not null
),
-- A claim that changed nothing leaves no receipt: idle polling must not write.
kept as (
    insert into {schema}.receipt (request, received_at, reply, taken)
    select $2::uuid, c.now, s.skipped::json,
        coalesce((select array_agg(d.id order by d.ord) from decided d where d.skip_with is null), '{}')
    from skipped s cross join clock c
    where exists (select from decided)
)
select h.*, t.*
    , o.next_at --[rate]
from (select c.now, exists (select from first) as is_repeated, s.skipped, g.keys as gateless,
          null::text as floor, 0::bigint as position
      from skipped s cross join gateless g cross join clock c) h
full join taken t on t.position = h.position
cross join opening o --[rate]
