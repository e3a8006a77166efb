-- Holds a lock for another time to live. An expired one is not renewed, even if nobody took it.
--
-- $1 timestamptz  now, or null for the server's clock
-- $2 text         name
-- $3 uuid         token
-- $4 bigint       epoch
--
-- Index: primary key. The row is locked, then the clock is read (see start_executions.sql). Name, token and epoch
-- are all compared: a renewal by name alone would keep a holder that somebody else has replaced. No receipt: repeating
-- a renewal renews.
with
locked as materialized (
    select l.* from {schema}.lock l where l.name = $2::text for update of l
),
clock as materialized (
    select coalesce($1::timestamptz, clock_timestamp()) as now from (select count(*) from locked) l
),
held as materialized (
    select l.name, c.now, c.now + l.ttl_ms * interval '1 millisecond' as until
    from locked l cross join clock c
    where l.token = $3::uuid and l.epoch = $4::bigint and l.released_at is null and c.now <= l.expires_at
),
renewed as (
    update {schema}.lock l set renewed_at = h.now, expires_at = h.until from held h where l.name = h.name
)
select json_build_object('lock_renewed', json_build_object(
    'now', {schema}.micros(c.now),
    'outcome', coalesce(
        (select json_build_object('Ok', {schema}.micros(h.until)) from held h),
        json_build_object('Err', 'lease_lost'))))::text as reply
from clock c
