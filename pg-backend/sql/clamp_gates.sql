-- After the database clock stepped back: moves turns of limit keys that were taken in the withdrawn future back to the present.
--
-- $1 timestamptz  now, or null for the server's clock
--
-- Runs before clamp_executions.sql, in a transaction of its own: whoever holds a gate waits for no row. Should the others fail,
-- the next rescue does all of it again. No index: it happens once per step of the clock. Gates are locked in key order, as
-- everywhere, and waited for: each of them must be moved.
with
clock as materialized (
    select coalesce($1::timestamptz, clock_timestamp()) as now
),
withdrawn as materialized (
    select g.key, g.charged_at, g.opens_at from {schema}.limit_gate g
    where g.charged_at > (select now from clock)
    order by g.key
    for update of g
),
clamped as (
    update {schema}.limit_gate g
    set opens_at = w.opens_at - ({schema}.micros(w.charged_at) - {schema}.micros(c.now)) * interval '1 microsecond',
        charged_at = c.now
    from withdrawn w cross join clock c
    where g.key = w.key
)
select count(*)::text as reply from withdrawn
