-- Purpose:    the execution with a unique key that ended last, of those that ended in one of these states.
-- Parameters: ?1 key; ?2 states as a JSON array.
-- Index:      history_unique, read backwards.
select id
from history indexed by history_unique
where unique_key = ?1 and state in (select value from json_each(?2))
order by finished_at desc, id desc
limit 1
