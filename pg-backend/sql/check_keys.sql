-- Whether one of these items, just made, has a key of which another item has finished in a way that counts.
--
-- $1 uuid[]  ids of what was made
-- $2 text[]  what their keys count (succeeded, finished)
--
-- Answers true or false. Index: primary key, history_unique; each looked up by itself, or the planner may read all of history.
--
-- Last statement of such an enqueue's transaction. Why: an item that was made and has finished since the enqueue's
-- snapshot, while that waited for somebody, is in neither table of the snapshot, and no more in execution_unique when
-- the insert gets there. From its insert on nobody else makes one.
with
made as materialized (
    select k.id, k.counts, (select e.unique_key from {schema}.execution e where e.id = k.id) as unique_key
    from unnest($1::uuid[], $2::text[]) as k (id, counts)
),
found as materialized (
    select (select h.id from {schema}.history h
            where h.unique_key = m.unique_key and h.id <> m.id and (m.counts = 'finished' or h.state = 'succeeded')
            limit 1) as id
    from made m
)
select (count(f.id) > 0)::text as reply from found f
