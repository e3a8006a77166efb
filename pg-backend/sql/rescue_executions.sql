-- Ends up to $2 running rows whose lease expired and that no claim may take, oldest expiry first.
--
-- $1 timestamptz  now, or null for the server's clock
-- $2 bigint       most rows
-- $3 text         error code of a row whose cancellation was asked for
-- $4 text         error text of the same
-- $5 text         error code of the others
-- $6 text         error text of the others
--
-- Index: execution_rescue. Answers null, and changes nothing, when the clock is before the last rescue's: then
-- clamp_executions.sql runs first, in one transaction with this (one statement cannot see its own changes).
-- Rescues take turns on one row of meta, and the clock is read behind that lock, so that two rescuers in a
-- microsecond are not taken for a clock that stepped back. Rows locked by a heartbeat or a settle are passed over.
--
-- What is expired is told by the clock before the rows are locked; they end by the clock read afterwards. In between a holder may have
-- asked once more whether it may start: that writes nothing, so the row is still ended here, and not before the answer.
with
last as materialized (
    select m.at from {schema}.meta m where m.name = 'rescue' for update
),
clock as materialized (
    select coalesce($1::timestamptz, clock_timestamp()) as now, l.at from last l
),
present as materialized (
    select c.now from clock c where c.at is null or c.now >= c.at
),
expired as materialized (
    select e.* from {schema}.execution e
    where e.state = 'running' and e.rescue_at < (select p.now from present p)
    order by e.rescue_at, e.id
    limit $2::bigint
    for update of e skip locked
),
locked as materialized (
    select greatest(p.now, coalesce($1::timestamptz, clock_timestamp())) as now
    from present p cross join (select count(*) from expired) x
),
swapped as (
    update {schema}.meta m set at = l.now from locked l where m.name = 'rescue'
),
ended as materialized (
    select x.*,
        case when x.cancel_requested_at is not null then 'cancelled' else 'dead' end as target,
        case when x.started_at is not null then
            greatest(0, floor(extract(epoch from l.now) * 1000 - extract(epoch from x.started_at) * 1000))::bigint
        end as elapsed_ms
    from expired x cross join locked l
),
gone as (
    delete from {schema}.execution e using ended d where e.id = d.id
),
buried as (
    insert into {schema}.history ({kept_columns}, state, finished_at, updated_at, duration_ms, rows_affected,
        result, error_code, error_text, skip_reason)
    select {kept_columns:d}, d.target, l.now, l.now, d.elapsed_ms, d.rows_affected, d.result,
        case when d.target = 'cancelled' then $3::text else $5::text end,
        case when d.target = 'cancelled' then $4::text else $6::text end,
        d.skip_reason
    from ended d cross join locked l
),
told as (
    insert into {schema}.audit ({audit_columns})
    select d.id, d.generation, d.fence, 5, l.now, d.job, d.scope_kind, d.scope_id, 'system', 'system', 'job_rescue',
        json_build_object('old_status', 'running', 'new_status', d.target, 'attempts', d.attempt,
            'max_attempts', d.max_attempts,
            'reason', case when d.target = 'cancelled' then $3::text else $5::text end)
    from ended d cross join locked l
    where {schema}.tells(d.audit, 'job_rescue')
),
gate as materialized (
    select g.key from {schema}.limit_gate g
    where g.key = any (array(select distinct d.limit_key from ended d where d.limit_key is not null))
    order by g.key
    for update
),
counted as (
    update {schema}.limit_gate g
    set running = g.running - left_running.rows
    from (select d.limit_key, count(*) as rows from ended d join gate on gate.key = d.limit_key
          group by d.limit_key) left_running
    where g.key = left_running.limit_key
)
select (
    select json_build_object('rescued', json_build_object(
        'now', {schema}.micros(l.now),
        'ended', coalesce((select json_agg(json_build_array(d.id, d.target) order by d.lease_expires_at, d.id)
                           from ended d), '[]'),
        'clamped', '[]'::json, 'clamped_locks', '[]'::json))
    from locked l)::text as reply
