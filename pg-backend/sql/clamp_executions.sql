-- After the database clock stepped back: moves rows written in the withdrawn future back to the present.
--
-- $1 timestamptz  now, or null for the server's clock
--
-- First statement of the rare two-statement rescue (see rescue_executions.sql). No index: it happens once per step of
-- the clock, and updated_at is not worth one. Rows are locked in id order and waited for: each of them must be moved.
-- Distances are taken as microseconds, not as intervals with days: adding days to a timestamptz follows the
-- session's time zone.
with
last as materialized (
    select m.at from {schema}.meta m where m.name = 'rescue' for update
),
clock as materialized (
    select coalesce($1::timestamptz, clock_timestamp()) as now, l.at from last l
),
swapped as (
    update {schema}.meta m set at = c.now from clock c where m.name = 'rescue'
),
withdrawn as materialized (
    select e.* from {schema}.execution e
    where e.updated_at > (select c.now from clock c where c.now < c.at)
    order by e.id
    for update of e
),
moved as materialized (
    select w.id, w.state <> 'scheduled' or w.claimable_at <> w.due_at
            or w.slot_at is null and w.due_at = w.created_at as relative, w.state = 'running' as running,
        ({schema}.micros(w.updated_at) - {schema}.micros(c.now)) * interval '1 microsecond' as back
    from withdrawn w cross join clock c
),
clamped as (
    update {schema}.execution e
    set claimable_at = case when m.relative then e.claimable_at - m.back else e.claimable_at end,
        lease_expires_at = case when m.running then e.lease_expires_at - m.back else e.lease_expires_at end,
        rescue_at = e.rescue_at - m.back,
        updated_at = c.now
    from moved m cross join clock c
    where e.id = m.id
)
select json_build_object(
    'now', {schema}.micros(c.now),
    'clamped', coalesce((select json_agg(m.id order by m.id) from moved m), '[]'))::text as reply
from clock c
