-- Renews leases. An expired lease that nobody took may be renewed.
--
-- $1 timestamptz  now, or null for the server's clock
-- $2 uuid[]       execution ids, each at most once
-- $3 uuid[]       tokens
-- $4 bigint[]     fences
-- $5 text[]       how far each says it is (JSON: note, permille), or null; a null array: none says so
--
-- Index: primary key. Rows are locked in id order, then the clock is read (see start_executions.sql). No receipt:
-- repeating a renewal renews.
with
input as materialized (
    -- Subqueries: see enqueue_items.sql.
    select * from unnest((select $2::uuid[]), (select $3::uuid[]), (select $4::bigint[]),
        (select $5::text[]))
        with ordinality as i (id, token, fence, said, ord)
),
locked as materialized (
    select e.* from {schema}.execution e join input i on i.id = e.id order by e.id for update of e
),
clock as materialized (
    select coalesce($1::timestamptz, clock_timestamp()) as now from (select count(*) from locked) l
),
decided as materialized (
    select i.ord, i.said, l.*, c.now + l.lease_ms * interval '1 millisecond' as until,
        l.state = 'running' and l.token = i.token and l.fence = i.fence as holds
    from input i cross join clock c left join locked l on l.id = i.id
),
renewed as (
    update {schema}.execution e
    set heartbeat_at = c.now,
        lease_expires_at = d.until,
        claimable_at = case
            when d.cancel_requested_at is null
                and (d.started_at is null or (d.reentry = 'allow' and d.attempt < d.max_attempts))
            then d.until + interval '1 microsecond'
        end,
        rescue_at = case
            when d.cancel_requested_at is not null
                or (d.started_at is not null and (d.reentry = 'forbid' or d.attempt >= d.max_attempts))
            then d.until
        end,
        progress = case when d.said is null then e.progress
            else json_build_object('note', d.said::json -> 'note', 'permille', d.said::json -> 'permille',
                'at', {schema}.micros(c.now)) end,
        updated_at = c.now
    from decided d cross join clock c
    where e.id = d.id and d.holds
)
select json_build_object('renewed', json_build_object(
    'now', (select {schema}.micros(c.now) from clock c),
    'outcomes', coalesce((
        select json_agg(case
            when d.holds then json_build_object('Ok', json_build_object(
                'expires_at', {schema}.micros(d.until),
                'cancel', case when d.cancel_requested_at is null then 'none' else 'requested' end))
            else json_build_object('Err', 'lease_lost') end order by d.ord)
        from decided d), '[]')))::text as reply
