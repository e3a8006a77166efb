-- Takes leases on up to $4 due rows, as claim_executions.sql would, if nothing else can become of any of them; or takes none.
--
-- $1-$6           as claim_executions.sql
--
-- Answers as that one does, with nothing skipped; "position" in the line with the time is 1 when not all rows were plain: then nothing
-- was done, and the next statement is to be asked.
--
-- "floor" has priority, "claimable_at" in microseconds, and id of the last row of a claim that got all it asked for, if that was of the
-- queue's least priority: behind it claim_onward.sql may go on.
--
-- Index: execution_claim.
--
-- Why. A claim of a few rows spends its time on the start of the statement, not on rows: claim_executions.sql has some thirty
-- subqueries and five writes, and takes three times as long to find nothing. Most queues need none of that. Plain are items
-- that wait, that no limit and no expiry concerns, that no newer slot replaces, and whose claim no audit event tells; what is due
-- but is not plain is not passed over, so the order of rows is the same. (Null where a row is taken, as in the other one: it
-- counts as few rows, or a claim of many reads the whole table to join.)
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
            select e.id, e.slot_at, e.expires_at, e.priority, e.max_attempts, e.lease_ms, e.reentry, e.supersede, e.limit_key,
                e.audit, e.state, e.claimable_at, e.attempt, e.fence, e.cancel_requested_at
            from {schema}.execution e
            where {lane:e} = p.lane and e.priority = p.priority and e.claimable_at <= (select now from began)
              and case when e.job = any ($3::text[]) then 1 end is not null
              and {is_free:e}
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
clock as materialized (
    select greatest(b.now, coalesce($1::timestamptz, clock_timestamp())) as now, d.is_plain
    from began b cross join (
        select coalesce(bool_and({is_plain:d}), true) as is_plain from due d) d
),
judged as materialized (
    select d.*, row_number() over (order by d.priority, d.claimable_at, d.id) as ord, nullif(c.is_plain, true) as is_left,
        null::timestamptz as keeps_at, c.now,
        {is_charged:d} as is_charged
    from due d cross join clock c
),
taken as (
    update {schema}.execution e
    set {claimed_set:d}
    from judged d
    where d.is_left is null and e.id = d.id
    returning d.ord as position, {claimed_columns:e}
),
kept as (
    insert into {schema}.receipt (request, received_at, taken)
    select $2::uuid, c.now, (select array_agg(d.id order by d.ord) from judged d)
    from clock c
    where c.is_plain and exists (select from judged)
),
floor as materialized (
    select json_build_array(d.priority, {schema}.micros(d.claimable_at), d.id)::text as floor
    from judged d
    where d.ord = $4::bigint and d.is_left is null
      and d.priority = (select min(l.priority) from lane l where l.name = ($3::text[])[1])
)
select h.*, t.*
from (select c.now, exists (select from first) as is_repeated, null::text as skipped,
          null::text as gateless, (select f.floor from floor f) as floor, (not c.is_plain)::int::bigint as position
      from clock c) h
full join taken t on t.position = h.position
