-- A page of locks, held or not, ordered by name.
--
-- $1 timestamptz  now, or null for the server's clock
-- $2 text         only names greater than this, or null
-- $3 bigint       most rows
--
-- Index: primary key, in its order.
with
clock as materialized (
    select coalesce($1::timestamptz, clock_timestamp()) as now
),
page as materialized (
    select l.* from {schema}.lock l where l.name > coalesce($2::text, '') order by l.name limit $3::bigint
)
select json_build_object('lock_page', json_build_object(
    'now', {schema}.micros(c.now),
    'locks', coalesce((
        select json_agg(json_build_object(
            'name', p.name, 'epoch', p.epoch, 'holder', p.holder, 'token', p.token, 'ttl_ms', p.ttl_ms,
            'acquired_at', {schema}.micros(p.acquired_at), 'renewed_at', {schema}.micros(p.renewed_at),
            'expires_at', {schema}.micros(p.expires_at), 'released_at', {schema}.micros(p.released_at))
            order by p.name)
        from page p), '[]')))::text as reply
from clock c
