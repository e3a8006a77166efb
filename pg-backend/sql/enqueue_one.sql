-- Makes one item of a queue without a bound, that has no unique key, is in no limit, and of whose making no audit event tells.
--
-- $1 timestamptz   now, or null for the server's clock
-- $2 uuid          request id
-- $3 text          queue
-- $4 uuid          id
-- $5 text          payload (JSON)
-- $6-$15           as in enqueue_alike.sql: scope to supersede
-- $16 text         which transitions are told: not all of them
-- $17 text         where in a trace it was enqueued
--
-- Answers as enqueue_items.sql does; it never finds the queue full.
--
-- Index: primary keys.
--
-- Why. An item that comes alone costs the start of its statement more than the rows, and the plan of this one has 20 nodes where
-- that of enqueue_alike.sql, which does the same and more, has 37: nothing is unrolled and nothing sorted. An id that is live fails the
-- insert on execution_pkey, as there.
with
first as materialized (
    select r.reply from {schema}.receipt r where r.request = $2::uuid
),
item as materialized (
    select coalesce($1::timestamptz, clock_timestamp()) as now, coalesce(
        (select h.id from {schema}.history h where h.id = $4::uuid limit 1),
        (select a.execution from {schema}.audit a where a.execution = $4::uuid limit 1)) as taken
    where not exists (select from first)
),
made as (
    insert into {schema}.execution (id, generation, job, scope_kind, scope_id, due_at, expires_at, priority, payload,
        max_attempts, lease_ms, reentry, supersede, audit, state, claimable_at, attempt, fence, created_at, updated_at, trace)
    select $4::uuid, 1, $3::text, $6::text, $7::text, coalesce($9::timestamptz, i.now),
        i.now + $10::bigint * interval '1 millisecond', $11::smallint, $5::text::json, $12::bigint, $13::bigint,
        $14::text, $15::text, $16::text, 'scheduled',
        coalesce($9::timestamptz, i.now + $8::bigint * interval '1 millisecond'), 0, 0, i.now, i.now, $17::text
    from item i
    where i.taken is null
),
reply as materialized (
    select i.now, json_build_object(
        'now', {schema}.micros(i.now),
        'full', null,
        'duplicates', case when i.taken is not null then json_build_array(json_build_array(1, i.taken)) end) as reply
    from item i
),
kept as (
    insert into {schema}.receipt (request, received_at, reply)
    select $2::uuid, r.now, r.reply from reply r
)
select coalesce((select f.reply from first f), (select r.reply from reply r))::text as reply
