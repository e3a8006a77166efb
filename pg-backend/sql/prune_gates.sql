-- Deletes gates of limit keys that no live row has, up to $1, and answers how many.
--
-- $1 bigint       most gates
--
-- Index: none. Gates and the keys of live rows are read whole, in one pass, if there is a gate that could go: an index on the keys
-- would cost each claim of a row with one.
--
-- Shape. One grouping of both tables, and no join, so that no statistics, however stale, make it cost their product.
--
-- A row with the key may be made while this runs: whoever makes it finds a gate that is about to go. Claims pass such a row
-- over, and say so: see make_gates.sql. SKIP LOCKED: a gate that a claim or a settle holds is in use.
with
unused as materialized (
    select k.key from (
        select g.key, false as is_live from {schema}.limit_gate g where g.running = 0 and g.queue is null
        union all
        select e.limit_key collate "C", true from {schema}.execution e
        where e.limit_key is not null
          and exists (select from {schema}.limit_gate g where g.running = 0 and g.queue is null)
    ) k
    group by k.key
    having not bool_or(k.is_live)
    limit $1::bigint
),
held as materialized (
    select g.key from {schema}.limit_gate g
    where g.key = any (array(select u.key from unused u)) and g.running = 0 and g.queue is null
    order by g.key
    for update skip locked
),
gone as (
    delete from {schema}.limit_gate g using held h where g.key = h.key returning 1
)
select count(*)::text as reply from gone
