-- Makes job specs known; an edited schedule moves its cursors to now and records what it did not plan.
--
-- $1 timestamptz  now, or null for the server's clock
-- $2 uuid         incarnation that registers
-- $3 text[]       job names, each at most once
-- $4 text[]       spec hashes
-- $5 text[]       schedule hashes
-- $6 text[]       rules (JSON), null where nobody said
--
-- Index: primary keys of job and cursor. Runs in one transaction behind lock_jobs.sql, which says why. Two first
-- registrations at once: one of them fails on job_pkey and is run again.
with
clock as materialized (
    select coalesce($1::timestamptz, clock_timestamp()) as now
),
input as materialized (
    select i.*, j.edited_at,
        case
            when j.name is null then 'new'
            when j.schedule_hash <> i.schedule_hash then 'schedule_changed'
            when j.spec_hash <> i.spec_hash then 'policy_changed'
            else 'unchanged'
        end as outcome
    from unnest($3::text[], $4::text[], $5::text[], $6::text[])
        with ordinality as i (job, spec_hash, schedule_hash, rules, ord)
    left join {schema}.job j on j.name = i.job
),
added as (
    insert into {schema}.job (name, spec_hash, schedule_hash, edited_at, rules, registered_by, registered_at)
    select i.job, i.spec_hash, i.schedule_hash, null, i.rules::json, $2::uuid, c.now
    from input i cross join clock c
    where i.outcome = 'new'
    order by i.job collate "C"
),
changed as (
    update {schema}.job j
    set spec_hash = i.spec_hash,
        schedule_hash = i.schedule_hash,
        edited_at = case when i.outcome = 'schedule_changed' then c.now else i.edited_at end,
        rules = i.rules::json,
        registered_by = $2::uuid,
        registered_at = c.now
    from input i cross join clock c
    where j.name = i.job and i.outcome in ('schedule_changed', 'policy_changed')
),
edited as materialized (
    select k.*, i.ord from {schema}.cursor k join input i on i.job = k.job
    where i.outcome = 'schedule_changed'
    order by k.job, k.scope_kind, k.scope_id
    for update of k
),
recorded as (
    insert into {schema}.skipped (job, scope_kind, scope_id, after, through, count, reason, recorded_at)
    select d.job, d.scope_kind, d.scope_id, d.at, c.now, null, 'schedule_changed', c.now
    from edited d cross join clock c
    where d.at < c.now
    order by d.ord, d.scope_kind, d.scope_id
),
moved as (
    update {schema}.cursor k
    set at = c.now, high_water = greatest(d.high_water, c.now),
        newest_slot = case when d.newest_slot <= c.now then d.newest_slot end
    from edited d cross join clock c
    where k.job = d.job and k.scope_kind = d.scope_kind and k.scope_id = d.scope_id
)
select json_build_object('registered', json_build_object(
    'outcomes', coalesce((select json_agg(i.outcome order by i.ord) from input i), '[]')))::text as reply
