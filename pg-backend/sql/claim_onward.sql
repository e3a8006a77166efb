-- Takes leases on up to $4 due rows behind the last one taken, if nothing else can become of any of them; or takes none.
--
-- $1-$6           as claim_executions.sql, with one queue
-- $7 smallint     least priority of the queue when it was last claimed anew
-- $8 timestamptz  when that was
-- $9 timestamptz, $10 uuid
--                  "claimable_at" and id of the last row taken since, which was of that priority
--
-- Answers a line for each row taken, in no order: its place among those that wait, and what of it the claimer does not know (see `Onward`
-- in claim.rs). No line: nothing was done, or the request is repeated, and claim_plain.sql is to be asked.
--
-- Index: execution_claim.
--
-- Why onward. A row that is taken and gone leaves its index entry where it was. While anybody's transaction holds a snapshot from
-- before that, no vacuum and no scan may forget the entry, and each claim from the first row on walks over all that were taken
-- since. What comes to lie before the floor, because its transaction commits late or another claim held it and let go, is found by the
-- claim anew that follows after a second, or as soon as nothing lies behind the floor. A lower priority is looked for each time: in
-- order, because a plan that expects one soon reads the table.
--
-- A row keeps its place in the order of claims, so that no index is entered anew: that was a third of what a claim cost. That
-- it is held is told by its lease (fragment/is_free.sql). What other claims have to walk over are the rows of a backlog that
-- are held since less than a heartbeat, which moves them.
--
-- And it is written where its lock found it, which spares a look at the primary key. One that was changed between this
-- statement's snapshot and its lock is not at a place that the snapshot knows, and waits for the claim anew; so what is read of the
-- target is what was locked, and few columns have to go from step to step.
--
-- The floor is a comparison of rows, because two comparisons of one column count as a narrow range; and of values that the planner does
-- not know, because behind a known one there can be few. What counts as few is read whole and sorted. One lane and one priority: what is
-- due comes in order, and is read from `due` in order.
--
-- The update is the statement, not a part of it: its rows go to the claimer as they are written. What else there is to say
-- follows from them: they are taken at one instant, and the last of them is the next floor. ("few" is null, and counts as few rows: a
-- claim of many would read the whole table to join.)
with
began as materialized (
    select coalesce($1::timestamptz, clock_timestamp()) as now, $9::timestamptz as floor_at, $10::uuid as floor_id
),
first as materialized (
    select from {schema}.receipt r where r.request = $2::uuid
),
lane as materialized (
    select ($3::text[])[1] as name, $7::smallint as priority
    from began b
    where not exists (select from first)
      and b.now between $8::timestamptz and $8::timestamptz + interval '1 second'
      and (select e.priority from {schema}.execution e
           where {lane:e} = ($3::text[])[1] and e.priority < $7::smallint
           order by e.priority limit 1) is null
),
due as materialized (
    select l.* from (
        select e.id, e.ctid as place, e.claimable_at as keeps_at,
            {is_plain:e} as is_plain, null::boolean as few,
            {is_charged:e} as is_charged
        from {schema}.execution e
        where {lane:e} = (select l.name from lane l) and e.priority = (select l.priority from lane l)
          and e.claimable_at <= (select now from began)
          and (e.claimable_at, e.id) > ((select floor_at from began), (select floor_id from began))
          and case when e.job = any ($3::text[]) then 1 end is not null
          and {is_free:e}
        order by e.claimable_at, e.id
        limit {page}
        for update of e skip locked
    ) l
    limit $4::bigint
),
clock as materialized (
    select greatest(b.now, coalesce($1::timestamptz, clock_timestamp())) as now, d.is_plain
    from began b cross join (select coalesce(bool_and(d.is_plain), false) as is_plain from due d) d
),
kept as (
    insert into {schema}.receipt (request, received_at, taken)
    select $2::uuid, c.now, array(select d.id from due d)
    from clock c
    where c.is_plain
)
update {schema}.execution e
set {claimed_set:e}
from (select d.*, (select c.now from clock c) as now from due d) d
where e.ctid = d.place and d.few is null and (select c.is_plain from clock c)
returning e.id, e.claimed_at, d.keeps_at, e.generation, e.scope_kind, e.scope_id, e.due_at, e.payload, e.unique_key, e.max_attempts, e.lease_ms,
    e.reentry, e.audit, e.claimable_at is not null, e.attempt, e.fence, e.started_at is not null, e.cancel_requested_at, e.created_at,
    e.trace
