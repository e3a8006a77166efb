-- Locks the live items with these unique keys, in id order, for the enqueue that follows in the same transaction; says
-- what time it is, in microseconds since 1970.
--
-- $1 timestamptz  now, or null for the server's clock
-- $2 text[]       keys
-- $3 bigint[]     periods in milliseconds, null for none
--
-- Index: execution_unique. Why: of keys that finished items count for. A settle that moves such an item to history
-- while the enqueue runs is in neither table of the enqueue's snapshot; we wait for it here. The enqueue gets our
-- time, or it might look for the keys of another period. SHARE: producers do not wait for each other here; a claim
-- passes over the item until we commit. Two steps, found and locked: asked for both at once, the planner may walk the
-- primary key for its order, and with it the whole table.
with
clock as materialized (
    select coalesce($1::timestamptz, clock_timestamp()) as now
),
wanted as materialized (
    select coalesce(floor({schema}.micros(c.now)::numeric / (k.period_ms * 1000))::bigint || '@', '') || k.key as key
    from unnest($2::text[], $3::bigint[]) as k (key, period_ms) cross join clock c
),
found as materialized (
    select e.id from {schema}.execution e where e.unique_key = any (array(select w.key from wanted w))
),
locked as materialized (
    select e.id from {schema}.execution e
    where e.id = any (array(select f.id from found f))
    order by e.id
    for share of e
)
select {schema}.micros(c.now)::text as reply from clock c where (select count(*) from locked) >= 0
