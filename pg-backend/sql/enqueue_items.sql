-- Makes items of one queue; refuses those that find it full, or that are there already.
--
-- $1 timestamptz   now, or null for the server's clock
-- $2 uuid          request id
-- $3 text          queue
-- $4 bigint        most live items in it; null: no bound
-- $5-$23           items, in order: uuid[] id, text[] scope kind, text[] scope id, bigint[] delay in milliseconds
--                  (null: absolute), timestamptz[] absolute due time, bigint[] time to live in milliseconds,
--                  smallint[] priority, text[] payload (JSON), text[] unique key, bigint[] its period in
--                  milliseconds, text[] what it counts (live, succeeded, finished), bigint[] most attempts,
--                  bigint[] lease in milliseconds, text[] re-entry, text[] supersede, text[] limit key, bigint[] limit,
--                  text[] which transitions are told, text[] where in a trace it was enqueued (a null array: nobody says of any)
--
-- Answers JSON: now; "full", the positions of items that found the queue full, from 1, or null when none did; "duplicates",
-- of each duplicate its position and the id of what it is a duplicate of, or null. The others are enqueued (see queue.rs).
--
-- Index: primary keys for ids; execution_unique for keys, history_unique for those that finished items count for;
-- execution_claim to count a queue with a bound.
--
-- No lock is needed to be right about keys: the unique index is what decides. An item whose key or id is live in our
-- snapshot is a duplicate, also if that one ends meanwhile: it was there during the call. One that another producer
-- commits after our snapshot fails our insert on execution_unique or execution_pkey, and the statement is run
-- again, with a newer snapshot. Keys that finished items count for are looked at once more by check_keys.sql, in a
-- statement after this one; the turn of a queue with a bound is taken by lock_queue.sql, in one before. Rows are inserted in
-- key order, so that two batches with the same keys wait for each other one way round.
--
-- Each parameter that an estimate depends on is a subquery: then a plan for these very parameters looks no cheaper than one
-- for any, and Postgres stops to plan anew for each call (2 ms) after the fifth.
--
-- A candidate is an item that only a full queue could refuse: the number of those before an item says whether it
-- finds room. Full comes before duplicate (P-61).
with
first as materialized (
    select r.reply from {schema}.receipt r where r.request = $2::uuid
),
clock as materialized (
    select coalesce($1::timestamptz, clock_timestamp()) as now
),
item as materialized (
    select n.*, case when n.given_key is null then null else
            coalesce(floor({schema}.micros(c.now)::numeric / (n.period_ms * 1000))::bigint || '@', '') || n.given_key
        end collate "C" as unique_key
    from unnest((select $5::uuid[]), (select $6::text[]), (select $7::text[]), (select $8::bigint[]),
        (select $9::timestamptz[]), (select $10::bigint[]), (select $11::smallint[]), (select $12::text[]),
        (select $13::text[]), (select $14::bigint[]), (select $15::text[]), (select $16::bigint[]),
        (select $17::bigint[]), (select $18::text[]), (select $19::text[]), (select $20::text[]),
        (select $21::bigint[]), (select $22::text[]), (select $23::text[]))
        with ordinality as n (id, scope_kind, scope_id, delay_ms, run_at, ttl_ms, priority, payload, given_key,
            period_ms, counts, max_attempts, lease_ms, reentry, supersede, limit_key, limit_max, audit, trace,
            ord)
    cross join clock c
    where not exists (select from first)
),
held as materialized (
    select count(*) as items from {schema}.execution e
    where (select $4::bigint) is not null and {lane:e} = (select $3::text)
),
known as materialized (
    select i.*, coalesce(
        (select e.id from {schema}.execution e where e.id = i.id),
        (select h.id from {schema}.history h where h.id = i.id limit 1),
        (select a.execution from {schema}.audit a where a.execution = i.id limit 1)) as taken,
        case when i.unique_key is not null then
            (select e.id from {schema}.execution e where e.unique_key = i.unique_key) end as holder,
        case when i.unique_key is not null and i.counts <> 'live' then
            (select h.id from {schema}.history h
             where h.unique_key = i.unique_key and (i.counts = 'finished' or h.state = 'succeeded')
             order by h.finished_at desc, h.id desc limit 1) end as ended
    from item i
),
judged as materialized (
    select k.*, k.taken is null and k.holder is null and k.ended is null as is_new from known k
),
-- Of the items of the batch with a key, the first that nothing stored refuses is what the later ones are duplicates of, as
-- they would be one by one: it lives by then, and what lives comes before what has ended.
ranked as materialized (
    select j.*, j.is_new and (j.unique_key is null or first_value(j.ord) over same_key = j.ord) as candidate,
        case when j.unique_key is not null and first_value(j.is_new) over same_key
              and first_value(j.ord) over same_key < j.ord then first_value(j.id) over same_key end as leader
    from judged j
    window same_key as (partition by j.unique_key order by j.is_new desc, j.ord)
),
decided as materialized (
    select r.*, case
            when h.items + count(*) filter (where r.candidate)
                over (order by r.ord rows between unbounded preceding and 1 preceding) >= $4::bigint then 'full'
            when r.candidate then 'enqueued'
            else 'duplicate'
        end as outcome
    from ranked r cross join held h
),
gate as (
    insert into {schema}.limit_gate (key)
    select distinct d.limit_key collate "C" from decided d where d.limit_key is not null and d.outcome = 'enqueued'
    order by 1
    on conflict do nothing
),
made as (
    insert into {schema}.execution (id, generation, job, scope_kind, scope_id, due_at, expires_at, priority, payload,
        unique_key, max_attempts, lease_ms, reentry, supersede, limit_key, limit_max, audit, state, claimable_at,
        attempt, fence, created_at, updated_at, trace)
    select d.id, 1, $3::text, d.scope_kind, d.scope_id, coalesce(d.run_at, c.now),
        c.now + d.ttl_ms * interval '1 millisecond', d.priority, d.payload::json, d.unique_key, d.max_attempts,
        d.lease_ms, d.reentry, d.supersede, d.limit_key, d.limit_max, d.audit, 'scheduled',
        coalesce(d.run_at, c.now + d.delay_ms * interval '1 millisecond'), 0, 0, c.now, c.now,
        d.trace
    from decided d cross join clock c
    where d.outcome = 'enqueued'
    order by d.unique_key nulls last, d.id
),
told as (
    insert into {schema}.audit ({audit_columns})
    select d.id, 1, 0, 0, c.now, $3::text, d.scope_kind, d.scope_id, 'system', 'system', 'job_schedule',
        json_build_object('old_status', null, 'new_status', 'scheduled', 'attempts', 0,
            'max_attempts', d.max_attempts, 'reason', null)
    from decided d cross join clock c
    where d.outcome = 'enqueued' and {schema}.tells(d.audit, 'job_schedule')
),
reply as materialized (
    select json_build_object(
        'now', {schema}.micros(c.now),
        'full', (select json_agg(d.ord order by d.ord) from decided d where d.outcome = 'full'),
        'duplicates', (
            select json_agg(json_build_array(d.ord, coalesce(d.taken, d.holder, d.leader, d.ended)) order by d.ord)
            from decided d where d.outcome = 'duplicate')) as reply
    from clock c
    where not exists (select from first)
),
kept as (
    insert into {schema}.receipt (request, received_at, reply)
    select $2::uuid, c.now, r.reply from reply r cross join clock c
)
select coalesce((select f.reply from first f), (select r.reply from reply r))::text as reply
