-- Makes gates for limit keys whose rows a claim passed over because they had none.
--
-- $1 text[]       limit keys
--
-- Index: the primary key. In key order, as everywhere. What holds a gate made it or counts on it: then it is there.
with made as (
    insert into {schema}.limit_gate (key)
    select distinct k.key collate "C" from unnest($1::text[]) as k (key) order by 1
    on conflict do nothing
    returning 1
)
select count(*)::text as reply from made
