-- Cancels waiting rows, and asks the runners of running ones to stop.
--
-- $1 timestamptz  now, or null for the server's clock
-- $2 uuid         request id
-- $3 uuid[]       execution ids, each at most once
-- $4 text         error code of a cancelled row
-- $5 text         error text of a cancelled row
-- $6 text         who asks
--
-- Index: primary keys. Runs in one transaction behind lock_executions.sql, which says why; the rows are locked already.
with
first as materialized (
    select r.reply from {schema}.receipt r where r.request = $2::uuid
),
input as materialized (
    select * from unnest($3::uuid[]) with ordinality as i (id, ord) where not exists (select from first)
),
locked as materialized (
    select e.* from {schema}.execution e join input i on i.id = e.id order by e.id for update of e
),
clock as materialized (
    select coalesce($1::timestamptz, clock_timestamp()) as now from (select count(*) from locked) l
),
asked as (
    update {schema}.execution e
    set cancel_requested_at = c.now, claimable_at = null, rescue_at = l.lease_expires_at, updated_at = c.now
    from locked l cross join clock c
    where e.id = l.id and l.state = 'running' and l.cancel_requested_at is null
),
gone as (
    delete from {schema}.execution e using locked l where e.id = l.id and l.state <> 'running'
),
buried as (
    insert into {schema}.history ({kept_columns}, state, finished_at, updated_at, duration_ms, rows_affected,
        result, error_code, error_text, skip_reason)
    select {kept_columns:l}, 'cancelled', c.now, c.now, l.duration_ms, l.rows_affected, l.result, $4::text, $5::text,
        l.skip_reason
    from locked l cross join clock c
    where l.state <> 'running'
),
told as (
    insert into {schema}.audit ({audit_columns})
    select t.id, t.generation, t.fence,
        case when t.state <> 'running' then 6 when t.started_at is null then 2 else 4 end,
        c.now, t.job, t.scope_kind, t.scope_id, 'operator', $6::text, t.action,
        json_build_object('old_status', t.state,
            'new_status', case when t.state = 'running' then 'running' else 'cancelled' end,
            'attempts', t.attempt, 'max_attempts', t.max_attempts,
            'reason', case when t.state <> 'running' then $4::text end)
    from (select l.*, case when l.state = 'running' then 'job_cancel_request' else 'job_cancel' end as action
          from locked l where l.state <> 'running' or l.cancel_requested_at is null) t
    cross join clock c
    where {schema}.tells(t.audit, t.action)
),
reply as materialized (
    select json_build_object('cancel_outcomes', json_build_object(
        'outcomes', coalesce((
            select json_agg(case
                when l.state = 'running' then 'requested'
                when l.id is not null then 'now'
                when exists (select from {schema}.history h where h.id = i.id) then 'already_terminal'
                else 'not_found' end order by i.ord)
            from input i left join locked l on l.id = i.id), '[]'))) as reply
    where not exists (select from first)
),
kept as (
    insert into {schema}.receipt (request, received_at, reply)
    select $2::uuid, c.now, r.reply from reply r cross join clock c
)
select coalesce((select f.reply from first f), (select r.reply from reply r))::text as reply
