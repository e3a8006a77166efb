-- Charges attempts just before their handlers run.
--
-- $1 timestamptz  now, or null for the server's clock
-- $2 uuid[]       execution ids, each at most once
-- $3 uuid[]       tokens
-- $4 bigint[]     fences
--
-- Index: primary key. Rows are locked in id order, then the clock is read: it is never before the instant at
-- which whoever held the lock wrote. No receipt: repeating a start answers the same attempt.
with
input as materialized (
    -- Subqueries: see enqueue_items.sql.
    select * from unnest((select $2::uuid[]), (select $3::uuid[]), (select $4::bigint[]))
        with ordinality as i (id, token, fence, ord)
),
locked as materialized (
    select e.* from {schema}.execution e join input i on i.id = e.id order by e.id for update of e
),
clock as materialized (
    select coalesce($1::timestamptz, clock_timestamp()) as now from (select count(*) from locked) l
),
decided as materialized (
    select i.ord, l.*,
        l.state = 'running' and l.token = i.token and l.fence = i.fence
            and (l.started_at is not null or l.lease_expires_at >= c.now) as holds
    from input i cross join clock c left join locked l on l.id = i.id
),
started as (
    update {schema}.execution e
    set attempt = d.attempt + 1,
        started_at = c.now,
        heartbeat_at = c.now,
        lease_expires_at = c.now + d.lease_ms * interval '1 millisecond',
        claimable_at = case
            when d.cancel_requested_at is null and d.reentry = 'allow' and d.attempt + 1 < d.max_attempts
            then c.now + d.lease_ms * interval '1 millisecond' + interval '1 microsecond'
        end,
        rescue_at = case
            when d.cancel_requested_at is not null or d.reentry = 'forbid' or d.attempt + 1 >= d.max_attempts
            then c.now + d.lease_ms * interval '1 millisecond'
        end,
        updated_at = c.now
    from decided d cross join clock c
    where e.id = d.id and d.holds and d.started_at is null
),
told as (
    insert into {schema}.audit ({audit_columns})
    select d.id, d.generation, d.fence, 3, c.now, d.job, d.scope_kind, d.scope_id, 'runner', d.runner::text,
        'job_start',
        json_build_object('old_status', 'running', 'new_status', 'running', 'attempts', d.attempt + 1,
            'max_attempts', d.max_attempts, 'reason', null)
    from decided d cross join clock c
    where d.holds and d.started_at is null and {schema}.tells(d.audit, 'job_start')
)
select json_build_object('started', json_build_object(
    'now', (select {schema}.micros(c.now) from clock c),
    'outcomes', coalesce((
        select json_agg(case
            when d.holds then json_build_object('Ok', d.attempt + (d.started_at is null)::int)
            else json_build_object('Err', 'lease_lost') end order by d.ord)
        from decided d), '[]')))::text as reply
