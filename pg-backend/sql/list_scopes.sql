-- A page of the scopes of one job that were ever planned, each with its newest success, ordered by scope.
--
-- $1 timestamptz  now, or null for the server's clock
-- $2 text         job
-- $3 text         kind of the scope that the page begins after, or null
-- $4 text         its id
-- $5 bigint       most rows
--
-- Index: primary key of cursor, in its order; pause_in_force; history_success from its end, once for each scope of the page.
with
clock as materialized (
    select coalesce($1::timestamptz, clock_timestamp()) as now
),
page as materialized (
    select k.* from {schema}.cursor k
    where k.job = $2::text and ($3::text is null or (k.scope_kind, k.scope_id) > ($3::text, $4::text))
    order by k.scope_kind, k.scope_id
    limit $5::bigint
),
summed as materialized (
    select p.*, s.slot_at, s.finished_at,
        (select w.paused_at from {schema}.pause w
         where w.job = p.job and w.scope_kind = p.scope_kind and w.scope_id = p.scope_id
           and w.resumed_at is null) as paused_at
    from page p
    left join lateral (
        select h.slot_at, h.finished_at from {schema}.history h
        where h.job = p.job and h.scope_kind = p.scope_kind and h.scope_id = p.scope_id
          and h.slot_at is not null and h.state = 'succeeded'
        order by h.slot_at desc, h.finished_at desc
        limit 1
    ) s on true
)
select json_build_object('scope_page', json_build_object(
    'now', {schema}.micros(c.now),
    'scopes', coalesce((
        select json_agg(json_build_object(
            'cursor', json_build_object(
                'scope', json_build_object('kind', s.scope_kind, 'id', s.scope_id),
                'at', {schema}.micros(s.at), 'high_water', {schema}.micros(s.high_water),
                'newest_slot', {schema}.micros(s.newest_slot),
                'schedule_hash', s.schedule_hash, 'edited_at', {schema}.micros(s.edited_at)),
            'paused_at', {schema}.micros(s.paused_at),
            'last_success', case when s.slot_at is not null then json_build_object(
                'slot_at', {schema}.micros(s.slot_at), 'finished_at', {schema}.micros(s.finished_at)) end)
            order by s.scope_kind, s.scope_id)
        from summed s), '[]')))::text as reply
from clock c
