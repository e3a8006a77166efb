-- Puts or removes the schedule that the database keeps for one scope: a new revision, and the scope's cursor at now.
--
-- $1 timestamptz  now, or null for the server's clock
-- $2 uuid         request id
-- $3 text         job
-- $4 text         scope kind
-- $5 text         scope id
-- $6 text         schedule (JSON), or null to remove it
-- $7 text         its hash, or null
-- $8 bigint       revision that must be in force; 0: none; null: whatever there is
-- $9 text         note, or null
-- $10 text        who asks
--
-- Index: primary keys of job and cursor; schedule_newest. Runs in one transaction behind lock_jobs.sql, for a new
-- snapshot under the job's lock, which keeps planners and other operators away from the job's cursors, as a registration
-- does: whoever planned before has ended, and whoever waits finds a cursor that has moved. One statement for both
-- verbs: what they do is the same, but for what is there afterwards.
with
first as materialized (
    select r.reply from {schema}.receipt r where r.request = $2::uuid
),
clock as materialized (
    select coalesce($1::timestamptz, clock_timestamp()) as now
),
found as materialized (
    select j.name, coalesce((j.rules->>'stored_schedules')::boolean, false) as is_stored,
        s.revision as newest, s.schedule::text as schedule, s.schedule_hash,
        case when s.schedule is not null then s.revision end as in_force
    from (select $3::text as name) n
    left join {schema}.job j on j.name = n.name
    left join {schema}.schedule s
        on s.job = n.name and s.scope_kind = $4::text and s.scope_id = $5::text and s.replaced_at is null
    where not exists (select from first)
),
decided as materialized (
    select f.newest, f.in_force, coalesce(f.newest, 0) + 1 as revision,
        case
            when f.name is null then 'unknown_job'
            when $6::text is null and f.in_force is null then 'not_there'
            when $6::text is not null and not f.is_stored then 'not_stored'
            when coalesce(f.in_force, 0) <> $8::bigint then 'conflict'
            when $6::text is null then 'removed'
            when f.schedule = $6::text and f.schedule_hash = $7::text then 'unchanged'
            else 'put'
        end as outcome
    from found f
),
edit as materialized (
    select d.* from decided d where d.outcome in ('put', 'removed')
),
replaced as (
    update {schema}.schedule s set replaced_at = c.now
    from edit d cross join clock c
    where s.job = $3::text and s.scope_kind = $4::text and s.scope_id = $5::text and s.revision = d.newest
    returning s.revision
),
added as (
    insert into {schema}.schedule (job, scope_kind, scope_id, revision, schedule, schedule_hash, note, edited_at,
        edited_by)
    select $3::text, $4::text, $5::text, d.revision, $6::text::json, $7::text, $9::text, c.now, $10::text
    -- Behind the update: there is one newest revision at any time.
    from edit d cross join clock c
    where (select count(*) from replaced) >= 0
),
cursor_before as materialized (
    select k.* from {schema}.cursor k cross join edit d
    where k.job = $3::text and k.scope_kind = $4::text and k.scope_id = $5::text
    for update of k
),
recorded as (
    insert into {schema}.skipped (job, scope_kind, scope_id, after, through, count, reason, recorded_at)
    select k.job, k.scope_kind, k.scope_id, k.at, c.now, null, 'schedule_changed', c.now
    from cursor_before k cross join clock c
    where k.at < c.now
),
moved as (
    insert into {schema}.cursor as k (job, scope_kind, scope_id, at, high_water, newest_slot, schedule_hash, edited_at)
    select $3::text, $4::text, $5::text, c.now, c.now, null, $7::text, c.now
    -- Behind the look at what there was: a row that this statement has changed already is not locked by it, nor shown.
    from edit d cross join clock c
    where (select count(*) from cursor_before) >= 0
    on conflict (job, scope_kind, scope_id) do update
    set at = excluded.at, high_water = greatest(k.high_water, excluded.at),
        newest_slot = case when k.newest_slot <= excluded.at then k.newest_slot end,
        schedule_hash = excluded.schedule_hash, edited_at = excluded.edited_at
),
reply as materialized (
    select json_build_object(
        case when $6::text is null then 'schedule_removed' else 'schedule_put' end,
        json_build_object(
            'now', {schema}.micros(c.now),
            'outcome', case
                when d.outcome in ('put', 'removed') then json_build_object(d.outcome, d.revision)
                when d.outcome in ('unchanged', 'conflict') then json_build_object(d.outcome, d.in_force)
                else to_json(d.outcome) end)) as reply
    from decided d cross join clock c
),
kept as (
    insert into {schema}.receipt (request, received_at, reply)
    select $2::uuid, c.now, r.reply from reply r cross join clock c
)
select coalesce((select f.reply from first f), (select r.reply from reply r))::text as reply
