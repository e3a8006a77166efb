-- Gives a lock back, so that anybody may take it at once. The row and its epoch stay.
--
-- $1 timestamptz  now, or null for the server's clock
-- $2 text         name
-- $3 uuid         token
-- $4 bigint       epoch
--
-- Index: primary key. The row is locked, then the clock is read (see start_executions.sql). No receipt: repeating it
-- finds the lock released already, which is as good.
with
locked as materialized (
    select l.* from {schema}.lock l where l.name = $2::text for update of l
),
clock as materialized (
    select coalesce($1::timestamptz, clock_timestamp()) as now from (select count(*) from locked) l
),
own as materialized (
    select l.name, l.released_at, c.now from locked l cross join clock c
    where l.token = $3::uuid and l.epoch = $4::bigint
),
released as (
    update {schema}.lock l set released_at = o.now from own o where l.name = o.name and o.released_at is null
)
select json_build_object('lock_released', json_build_object(
    'now', {schema}.micros(c.now),
    'outcome', case when exists (select from own) then json_build_object('Ok', null)
                    else json_build_object('Err', 'lease_lost') end))::text as reply
from clock c
