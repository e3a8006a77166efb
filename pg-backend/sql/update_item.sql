-- Changes payload, priority or due time of a waiting item; what is null stays.
--
-- $1 timestamptz  now, or null for the server's clock
-- $2 uuid         request id
-- $3 text         queue
-- $4 uuid         execution id
-- $5 text         payload (JSON), or null
-- $6 smallint     priority, or null
-- $7 bigint       delay in milliseconds, or null
-- $8 timestamptz  absolute due time, or null
--
-- Index: primary keys. Runs in one transaction behind lock_executions.sql, which says why; the row is locked already.
-- A delay leaves due_at alone, and so does a time given to a failed item: clamp_executions.sql tells waits by it.
with
first as materialized (
    select r.reply from {schema}.receipt r where r.request = $2::uuid
),
locked as materialized (
    select e.* from {schema}.execution e
    where e.id = $4::uuid and e.job = $3::text and e.slot_at is null and not exists (select from first)
    for update of e
),
clock as materialized (
    select coalesce($1::timestamptz, clock_timestamp()) as now from (select count(*) from locked) l
),
updated as (
    update {schema}.execution e
    set payload = coalesce($5::text::json, l.payload),
        priority = coalesce($6::smallint, l.priority),
        claimable_at = coalesce($8::timestamptz, c.now + $7::bigint * interval '1 millisecond', l.claimable_at),
        due_at = case when l.state = 'scheduled' then coalesce($8::timestamptz, l.due_at) else l.due_at end,
        updated_at = c.now
    from locked l cross join clock c
    where e.id = l.id and l.state <> 'running'
),
reply as materialized (
    select json_build_object('item_updated', json_build_object(
        'now', {schema}.micros(c.now),
        'outcome', coalesce(
            (select case when l.state = 'running' then 'running' else 'updated' end from locked l),
            (select 'ended' from {schema}.history h
             where h.id = $4::uuid and h.job = $3::text and h.slot_at is null limit 1),
            'not_found'))) as reply
    from clock c
    where not exists (select from first)
),
kept as (
    insert into {schema}.receipt (request, received_at, reply)
    select $2::uuid, c.now, r.reply from reply r cross join clock c
)
select coalesce((select f.reply from first f), (select r.reply from reply r))::text as reply
