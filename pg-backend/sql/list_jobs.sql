-- A page of registered jobs with the newest success of each, ordered by name.
--
-- $1 timestamptz  now, or null for the server's clock
-- $2 text         only names greater than this, or null
-- $3 bigint       most rows
--
-- Index: primary keys of job and cursor; pause_in_force; history_success from its end, once for each scope of the page.
with
clock as materialized (
    select coalesce($1::timestamptz, clock_timestamp()) as now
),
page as materialized (
    select j.* from {schema}.job j where j.name > coalesce($2::text, '') order by j.name limit $3::bigint
),
summed as materialized (
    select p.name, p.spec_hash, p.edited_at, p.rules,
        (select w.paused_at from {schema}.pause w
         where w.job = p.name and w.scope_kind = '' and w.scope_id = '' and w.resumed_at is null) as paused_at,
        (select count(*) from {schema}.cursor k where k.job = p.name) as scopes,
        s.slot_at, s.finished_at
    from page p
    left join lateral (
        select h.slot_at, h.finished_at
        from {schema}.cursor k
        cross join lateral (
            select h.slot_at, h.finished_at from {schema}.history h
            where h.job = k.job and h.scope_kind = k.scope_kind and h.scope_id = k.scope_id
              and h.slot_at is not null and h.state = 'succeeded'
            order by h.slot_at desc, h.finished_at desc
            limit 1
        ) h
        where k.job = p.name
        order by h.slot_at desc, h.finished_at desc
        limit 1
    ) s on true
)
select json_build_object('job_page', json_build_object(
    'now', {schema}.micros(c.now),
    'jobs', coalesce((
        select json_agg(json_build_object(
            'job', s.name, 'spec_hash', s.spec_hash, 'edited_at', {schema}.micros(s.edited_at), 'rules', s.rules,
            'paused_at', {schema}.micros(s.paused_at), 'scopes', s.scopes,
            'last_success', case when s.slot_at is not null then json_build_object(
                'slot_at', {schema}.micros(s.slot_at), 'finished_at', {schema}.micros(s.finished_at)) end)
            order by s.name)
        from summed s), '[]')))::text as reply
from clock c
