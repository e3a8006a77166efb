-- Reads how far these jobs are planned, in the order asked for, cursors ordered by scope.
--
-- $1 timestamptz  now, or null for the server's clock
-- $2 text[]       job names
--
-- Index: primary keys of job and cursor (job is its first column); pause_in_force; schedule_newest.
with input as materialized (
    select * from unnest($2::text[]) with ordinality as i (job, ord)
)
select json_build_object('cursors_read', json_build_object(
    'now', {schema}.micros(coalesce($1::timestamptz, clock_timestamp())),
    'jobs', coalesce((
        select json_agg(json_build_object(
            'job', i.job, 'spec_hash', j.spec_hash, 'edited_at', {schema}.micros(j.edited_at),
            'pauses', coalesce((
                select json_agg({pause_json:p} order by p.scope_kind, p.scope_id)
                from {schema}.pause p where p.job = i.job and p.resumed_at is null), '[]'),
            'schedules', coalesce((
                select json_agg({schedule_json:s} order by s.scope_kind, s.scope_id)
                from {schema}.schedule s
                where s.job = i.job and s.replaced_at is null and s.schedule is not null), '[]'),
            'cursors', coalesce((
                select json_agg(json_build_object(
                    'scope', json_build_object('kind', k.scope_kind, 'id', k.scope_id),
                    'at', {schema}.micros(k.at), 'high_water', {schema}.micros(k.high_water),
                    'newest_slot', {schema}.micros(k.newest_slot),
                    'schedule_hash', k.schedule_hash, 'edited_at', {schema}.micros(k.edited_at))
                    order by k.scope_kind, k.scope_id)
                from {schema}.cursor k where k.job = i.job), '[]')) order by i.ord)
        from input i left join {schema}.job j on j.name = i.job), '[]')))::text as reply
