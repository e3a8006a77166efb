-- Pauses a job, or one scope of it; a scope without a cursor gets one that begins now.
--
-- $1 timestamptz  now, or null for the server's clock
-- $2 uuid         request id, which is the pause's
-- $3 text         job
-- $4 text         scope kind, empty for the whole job
-- $5 text         scope id, likewise
-- $6 text         who asks
--
-- Index: primary keys of job and cursor; pause_in_force. Runs in one transaction behind lock_jobs.sql, for a new
-- snapshot under the job's lock: planners that hold the job have ended, and those that wait for it find `paused` on
-- the rows that they lock.
with
first as materialized (
    select r.reply from {schema}.receipt r where r.request = $2::uuid
),
clock as materialized (
    select coalesce($1::timestamptz, clock_timestamp()) as now
),
decided as materialized (
    select p.paused_at,
        case when j.name is null then 'unknown_job' when p.id is not null then 'already' else 'paused' end as outcome
    from (select $3::text as name) n
    left join {schema}.job j on j.name = n.name
    left join {schema}.pause p
        on p.job = n.name and p.scope_kind = $4::text and p.scope_id = $5::text and p.resumed_at is null
    where not exists (select from first)
),
made as (
    insert into {schema}.pause (id, job, scope_kind, scope_id, paused_at, paused_by)
    select $2::uuid, $3::text, $4::text, $5::text, c.now, $6::text
    from decided d cross join clock c
    where d.outcome = 'paused'
    -- A request that is repeated after its receipt is gone begins anew.
    on conflict (id) do update
    set job = excluded.job, scope_kind = excluded.scope_kind, scope_id = excluded.scope_id,
        paused_at = excluded.paused_at, paused_by = excluded.paused_by, resumed_at = null, resumed_by = null
),
job_held as (
    update {schema}.job j set paused = true
    from decided d
    where j.name = $3::text and d.outcome = 'paused' and $4::text = ''
),
cursor_held as (
    insert into {schema}.cursor (job, scope_kind, scope_id, at, high_water, edited_at, paused)
    select $3::text, $4::text, $5::text, c.now, c.now, c.now, true
    from decided d cross join clock c
    where d.outcome = 'paused' and $4::text <> ''
    on conflict (job, scope_kind, scope_id) do update set paused = true
),
reply as materialized (
    select json_build_object('job_paused', json_build_object(
        'now', {schema}.micros(c.now),
        'outcome', case d.outcome
            when 'already' then json_build_object('already', {schema}.micros(d.paused_at))
            else to_json(d.outcome) end)) as reply
    from decided d cross join clock c
),
kept as (
    insert into {schema}.receipt (request, received_at, reply)
    select $2::uuid, c.now, r.reply from reply r cross join clock c
)
select coalesce((select f.reply from first f), (select r.reply from reply r))::text as reply
