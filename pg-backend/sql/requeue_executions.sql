-- Gives finished executions another life, due at once: next generation, full budget, fence goes on growing.
--
-- $1 timestamptz  now, or null for the server's clock
-- $2 uuid         request id
-- $3 uuid[]       execution ids, each at most once
-- $4 text         who asks
--
-- Index: primary keys, execution_unique. Runs in one transaction behind lock_requeue.sql, which says why.
with
first as materialized (
    select r.reply from {schema}.receipt r where r.request = $2::uuid
),
clock as materialized (
    select coalesce($1::timestamptz, clock_timestamp()) as now
),
input as materialized (
    select i.id, i.ord, exists (select from {schema}.execution e where e.id = i.id) as live
    from unnest($3::uuid[]) with ordinality as i (id, ord)
    where not exists (select from first)
),
last as materialized (
    select i.ord, h.* from input i
    cross join lateral (
        select * from {schema}.history h where h.id = i.id order by h.generation desc limit 1) h
    where not i.live
),
-- Of several with one key the first. A live one that our snapshot lacks fails the insert on execution_unique, and we
-- are run again.
free as materialized (
    select l.ord, l.unique_key is null or row_number() over (partition by l.unique_key order by l.ord) = 1
        and not exists (select from {schema}.execution e where e.unique_key = l.unique_key) as free
    from last l
),
finished as materialized (
    select l.* from last l join free f on f.ord = l.ord and f.free
),
gate as (
    insert into {schema}.limit_gate (key)
    select distinct f.limit_key from finished f where f.limit_key is not null order by 1
    on conflict do nothing
),
revived as (
    insert into {schema}.execution (id, generation, job, scope_kind, scope_id, slot_at, due_at, priority, payload,
        unique_key, max_attempts, lease_ms, reentry, supersede, limit_key, limit_max, audit, state,
        claimable_at, attempt, fence, created_at, updated_at, trace)
    select f.id, f.generation + 1, f.job, f.scope_kind, f.scope_id, f.slot_at, c.now, f.priority, f.payload,
        f.unique_key, f.max_attempts, f.lease_ms, f.reentry, 'never', f.limit_key, f.limit_max, f.audit, 'scheduled',
        c.now, 0, f.fence, c.now, c.now, f.trace
    from finished f cross join clock c
    -- As an enqueue does: who waits for a key holds no later one.
    order by f.unique_key nulls last, f.id
),
told as (
    insert into {schema}.audit ({audit_columns})
    select f.id, f.generation + 1, f.fence, 0, c.now, f.job, f.scope_kind, f.scope_id, 'operator', $4::text,
        'job_requeue',
        json_build_object('old_status', f.state, 'new_status', 'scheduled', 'attempts', 0,
            'max_attempts', f.max_attempts, 'reason', null)
    from finished f cross join clock c
    where {schema}.tells(f.audit, 'job_requeue')
),
reply as materialized (
    select json_build_object('requeued', json_build_object(
        'outcomes', coalesce((
            select json_agg(case
                when i.live then to_json('still_live'::text)
                when l.id is null then to_json('not_found'::text)
                when not f.free then to_json('conflict'::text)
                else json_build_object('requeued', l.generation + 1) end order by i.ord)
            from input i left join last l on l.ord = i.ord left join free f on f.ord = i.ord), '[]'))) as reply
    where not exists (select from first)
),
kept as (
    insert into {schema}.receipt (request, received_at, reply)
    select $2::uuid, c.now, r.reply from reply r cross join clock c
)
select coalesce((select f.reply from first f), (select r.reply from reply r))::text as reply
