-- Lifts the pause of a job, or of one scope of it: the cursors move to now, and what was left out is recorded.
--
-- $1 timestamptz  now, or null for the server's clock
-- $2 uuid         request id
-- $3 text         job
-- $4 text         scope kind, empty for the whole job
-- $5 text         scope id, likewise
-- $6 text         who asks
--
-- Index: primary keys of job and cursor; pause_in_force. Runs in one transaction behind lock_jobs.sql, which keeps
-- planners and other operators away from the job's cursors, as a registration does.
with
first as materialized (
    select r.reply from {schema}.receipt r where r.request = $2::uuid
),
clock as materialized (
    select coalesce($1::timestamptz, clock_timestamp()) as now
),
decided as materialized (
    select p.id, p.paused_at,
        case when j.name is null then 'unknown_job' when p.id is null then 'not_paused' else 'resumed' end as outcome
    from (select $3::text as name) n
    left join {schema}.job j on j.name = n.name
    left join {schema}.pause p
        on p.job = n.name and p.scope_kind = $4::text and p.scope_id = $5::text and p.resumed_at is null
    where not exists (select from first)
),
lifted as (
    update {schema}.pause p set resumed_at = c.now, resumed_by = $6::text
    from decided d cross join clock c
    where p.id = d.id and d.outcome = 'resumed'
),
job_freed as (
    update {schema}.job j set paused = false, edited_at = c.now
    from decided d cross join clock c
    where j.name = $3::text and d.outcome = 'resumed' and $4::text = ''
),
edited as materialized (
    select k.* from {schema}.cursor k cross join decided d
    where k.job = $3::text and d.outcome = 'resumed'
      and ($4::text = '' or (k.scope_kind = $4::text and k.scope_id = $5::text))
    order by k.scope_kind, k.scope_id
    for update of k
),
recorded as (
    insert into {schema}.skipped (job, scope_kind, scope_id, after, through, count, reason, recorded_at)
    select e.job, e.scope_kind, e.scope_id, e.at, c.now, null, 'paused', c.now
    from edited e cross join clock c
    where e.at < c.now
    order by e.scope_kind, e.scope_id
),
moved as (
    update {schema}.cursor k
    set at = c.now, high_water = greatest(e.high_water, c.now),
        newest_slot = case when e.newest_slot <= c.now then e.newest_slot end,
        edited_at = case when $4::text = '' then e.edited_at else c.now end,
        paused = e.paused and $4::text = ''
    from edited e cross join clock c
    where k.job = e.job and k.scope_kind = e.scope_kind and k.scope_id = e.scope_id
),
reply as materialized (
    select json_build_object('job_resumed', json_build_object(
        'now', {schema}.micros(c.now),
        'outcome', case d.outcome
            when 'resumed' then json_build_object('resumed', {schema}.micros(d.paused_at))
            else to_json(d.outcome) end)) as reply
    from decided d cross join clock c
),
kept as (
    insert into {schema}.receipt (request, received_at, reply)
    select $2::uuid, c.now, r.reply from reply r cross join clock c
)
select coalesce((select f.reply from first f), (select r.reply from reply r))::text as reply
