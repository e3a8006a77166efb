-- Makes items of a queue without a bound, that have no unique key and differ in nothing but id, payload
-- and trace.
--
-- $1 timestamptz   now, or null for the server's clock
-- $2 uuid          request id
-- $3 text          queue
-- $4 uuid[]        ids, in order
-- $5 text[]        payloads (JSON)
-- $6-$18           what all of them have: text scope kind, text scope id, bigint delay in milliseconds (null: absolute),
--                  timestamptz absolute due time, bigint time to live in milliseconds, smallint priority, bigint most
--                  attempts, bigint lease in milliseconds, text re-entry, text supersede, text limit key, bigint limit,
--                  text which transitions are told
-- $19 text[]       where in a trace each was enqueued; null: nobody says of any
--
-- Answers as enqueue_items.sql does; none of these finds the queue full.
--
-- Index: primary keys. Rows are inserted in id order.
--
-- Most enqueues are of this kind, and enqueue_items.sql, which does the same and more, takes twice as long for it: it
-- unrolls nineteen arrays, sorts twice, and looks each id up among the live rows before the primary key does. Here an id that
-- is live fails the insert on execution_pkey, and the other statement is run, which says of which item.
with
first as materialized (
    select r.reply from {schema}.receipt r where r.request = $2::uuid
),
clock as materialized (
    select coalesce($1::timestamptz, clock_timestamp()) as now
),
item as materialized (
    -- Subqueries: see enqueue_items.sql.
    select n.id, n.payload, n.trace, n.ord, coalesce(
        (select h.id from {schema}.history h where h.id = n.id limit 1),
        (select a.execution from {schema}.audit a where a.execution = n.id limit 1)) as taken
    from unnest((select $4::uuid[]), (select $5::text[]), (select $19::text[]))
        with ordinality as n (id, payload, trace, ord)
    where not exists (select from first)
),
gate as (
    insert into {schema}.limit_gate (key)
    select $16::text collate "C" where $16::text is not null and exists (select from item i where i.taken is null)
    on conflict do nothing
),
made as (
    insert into {schema}.execution (id, generation, job, scope_kind, scope_id, due_at, expires_at, priority, payload,
        max_attempts, lease_ms, reentry, supersede, limit_key, limit_max, audit, state, claimable_at, attempt, fence,
        created_at, updated_at, trace)
    select i.id, 1, $3::text, $6::text, $7::text, coalesce($9::timestamptz, c.now),
        c.now + $10::bigint * interval '1 millisecond', $11::smallint, i.payload::json, $12::bigint, $13::bigint,
        $14::text, $15::text, $16::text, $17::bigint, $18::text, 'scheduled',
        coalesce($9::timestamptz, c.now + $8::bigint * interval '1 millisecond'), 0, 0, c.now, c.now, i.trace
    from item i cross join clock c
    where i.taken is null
    order by i.id
),
told as (
    insert into {schema}.audit ({audit_columns})
    select i.id, 1, 0, 0, c.now, $3::text, $6::text, $7::text, 'system', 'system', 'job_schedule',
        json_build_object('old_status', null, 'new_status', 'scheduled', 'attempts', 0, 'max_attempts', $12::bigint,
            'reason', null)
    from item i cross join clock c
    where i.taken is null and {schema}.tells($18::text, 'job_schedule')
),
reply as materialized (
    select json_build_object(
        'now', {schema}.micros(c.now),
        'full', null,
        'duplicates', (select json_agg(json_build_array(i.ord, i.taken) order by i.ord)
                       from item i where i.taken is not null)) as reply
    from clock c
    where not exists (select from first)
),
kept as (
    insert into {schema}.receipt (request, received_at, reply)
    select $2::uuid, c.now, r.reply from reply r cross join clock c
)
select coalesce((select f.reply from first f), (select r.reply from reply r))::text as reply
