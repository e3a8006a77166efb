-- Removes items of one queue with their history; a waiting one is cancelled and removed in one, a running one stays.
--
-- $1 timestamptz  now, or null for the server's clock
-- $2 uuid         request id
-- $3 text         queue
-- $4 uuid[]       execution ids, each at most once
-- $5 text         who asks
--
-- Index: primary keys. Runs in one transaction behind lock_requeue.sql, so that no requeue makes a row of what we
-- remove, and lock_executions.sql, which says why; live rows are locked already. The newest generation is locked
-- against a prune, which passes it over.
with
first as materialized (
    select r.reply from {schema}.receipt r where r.request = $2::uuid
),
input as materialized (
    select * from unnest($4::uuid[]) with ordinality as i (id, ord) where not exists (select from first)
),
live as materialized (
    select e.* from {schema}.execution e join input i on i.id = e.id
    where e.job = $3::text and e.slot_at is null
    order by e.id
    for update of e
),
finished as materialized (
    select n.* from input i
    cross join lateral (
        select h.* from {schema}.history h
        where h.id = i.id and h.job = $3::text and h.slot_at is null
        order by h.generation desc
        limit 1
        for update of h) n
    where not exists (select from {schema}.execution e where e.id = i.id)
),
clock as materialized (
    select coalesce($1::timestamptz, clock_timestamp()) as now
    from (select count(*) from live) l cross join (select count(*) from finished) f
),
removed as materialized (
    select l.id, l.generation, l.fence, l.job, l.scope_kind, l.scope_id, l.state, 'cancelled' as target, l.attempt,
        l.max_attempts, l.audit
    from live l where l.state <> 'running'
    union all
    select f.id, f.generation, f.fence, f.job, f.scope_kind, f.scope_id, f.state, f.state, f.attempt,
        f.max_attempts, f.audit
    from finished f
),
gone as (
    delete from {schema}.execution e using removed r where e.id = r.id
),
forgotten as (
    delete from {schema}.history h using removed r where h.id = r.id
),
told as (
    insert into {schema}.audit ({audit_columns})
    select r.id, r.generation, r.fence, 7, c.now, r.job, r.scope_kind, r.scope_id, 'operator', $5::text, 'job_delete',
        json_build_object('old_status', r.state, 'new_status', r.target, 'attempts', r.attempt,
            'max_attempts', r.max_attempts, 'reason', null)
    from removed r cross join clock c
    where {schema}.tells(r.audit, 'job_delete')
),
reply as materialized (
    select json_build_object('items_deleted', json_build_object(
        'now', {schema}.micros(c.now),
        'outcomes', coalesce((
            select json_agg(case
                when r.id is not null then 'deleted'
                when l.id is not null then 'running'
                else 'not_found' end order by i.ord)
            from input i left join removed r on r.id = i.id left join live l on l.id = i.id), '[]'))) as reply
    from clock c
    where not exists (select from first)
),
kept as (
    insert into {schema}.receipt (request, received_at, reply)
    select $2::uuid, c.now, r.reply from reply r cross join clock c
)
select coalesce((select f.reply from first f), (select r.reply from reply r))::text as reply
