-- Sets aside claimed rows that the claimer could not read, with the reasons.
--
-- $1 timestamptz  now, or null for the server's clock
-- $2 uuid         token: the request id of the claim
-- $3 uuid[]       execution ids, each once
-- $4 text[]       what is wrong with each
--
-- Index: primary key. The token guards: a row that another claim holds meanwhile is another claimer's find. Rows are
-- locked in id order, then gates in key order, as everywhere.
with
clock as materialized (
    select coalesce($1::timestamptz, clock_timestamp()) as now
),
found as materialized (
    select e.*, b.reason from {schema}.execution e
    join unnest($3::uuid[], $4::text[]) as b (id, reason) on b.id = e.id
    where e.token = $2::uuid and e.state = 'running'
    order by e.id
    for update of e
),
kept as (
    insert into {schema}.unreadable ({kept_columns}, state, claimable_at, rescue_at, finished_at, updated_at, duration_ms,
        rows_affected, result, error_code, error_text, skip_reason, found_at, reason)
    select {kept_columns:e}, e.state, e.claimable_at, e.rescue_at, e.finished_at, e.updated_at, e.duration_ms, e.rows_affected,
        e.result, e.error_code, e.error_text, e.skip_reason, c.now, f.reason
    from {schema}.execution e join found f on f.id = e.id cross join clock c
),
gone as (
    delete from {schema}.execution e using found f where e.id = f.id
),
gate as materialized (
    select g.key from {schema}.limit_gate g
    where g.key = any (array(select distinct f.limit_key from found f where f.limit_key is not null))
    order by g.key
    for update
),
counted as (
    update {schema}.limit_gate g set running = g.running - held.rows
    from (select f.limit_key, count(*) as rows from found f join gate on gate.key = f.limit_key
          group by f.limit_key) held
    where g.key = held.limit_key
)
select count(*)::text as reply from found
