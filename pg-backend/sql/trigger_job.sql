-- Makes one execution of a registered job, due at once, that is no slot.
--
-- $1 timestamptz  now, or null for the server's clock
-- $2 uuid         request id
-- $3 text         job
-- $4, $5 text     scope kind and id
-- $6 uuid         execution id; one that is taken, or that audit events tell of, makes nothing
-- $7 smallint     priority
-- $8 text         payload (JSON), or null
-- $9 bigint       most attempts
-- $10 bigint      lease in milliseconds
-- $11, $12 text   re-entry, supersede
-- $13 text        limit key, or null
-- $14 bigint      limit
-- $15 text        which transitions are told
-- $16 text        who asks
-- $17 text        where in a trace, or null
--
-- Index: primary keys. Runs in one transaction behind lock_jobs.sql, so that two transmissions of one wish take turns
-- and the second has a new snapshot.
with
first as materialized (
    select r.reply from {schema}.receipt r where r.request = $2::uuid
),
clock as materialized (
    select coalesce($1::timestamptz, clock_timestamp()) as now
),
decided as materialized (
    select case
            when not exists (select from {schema}.job j where j.name = $3::text) then 'unknown_job'
            when exists (select from {schema}.execution e where e.id = $6::uuid)
                or exists (select from {schema}.history h where h.id = $6::uuid)
                or exists (select from {schema}.audit a where a.execution = $6::uuid) then 'duplicate'
            else 'triggered'
        end as outcome
    where not exists (select from first)
),
gate as (
    insert into {schema}.limit_gate (key)
    select $13::text from decided d where d.outcome = 'triggered' and $13::text is not null
    on conflict do nothing
),
made as (
    insert into {schema}.execution (id, generation, job, scope_kind, scope_id, due_at, priority, payload, max_attempts,
        lease_ms, reentry, supersede, limit_key, limit_max, audit, state, claimable_at, attempt, fence, created_at,
        updated_at, trace)
    select $6::uuid, 1, $3::text, $4::text, $5::text, c.now, $7::smallint, $8::text::json, $9::bigint,
        $10::bigint, $11::text, $12::text, $13::text, $14::bigint, $15::text, 'scheduled', c.now, 0, 0, c.now,
        c.now, $17::text
    from decided d cross join clock c
    where d.outcome = 'triggered'
),
told as (
    insert into {schema}.audit ({audit_columns})
    select $6::uuid, 1, 0, 0, c.now, $3::text, $4::text, $5::text, 'operator', $16::text, 'job_trigger',
        json_build_object('old_status', null, 'new_status', 'scheduled', 'attempts', 0, 'max_attempts', $9::bigint,
            'reason', null)
    from decided d cross join clock c
    where d.outcome = 'triggered' and {schema}.tells($15::text, 'job_trigger')
),
reply as materialized (
    select json_build_object('job_triggered', json_build_object(
        'now', {schema}.micros(c.now), 'outcome', d.outcome)) as reply
    from decided d cross join clock c
),
kept as (
    insert into {schema}.receipt (request, received_at, reply)
    select $2::uuid, c.now, r.reply from reply r cross join clock c
)
select coalesce((select f.reply from first f), (select r.reply from reply r))::text as reply
