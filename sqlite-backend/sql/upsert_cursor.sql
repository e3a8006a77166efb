-- Purpose:    moves a cursor.
-- Parameters: ?1 job, ?2 scope kind, ?3 scope id, ?4 at, ?5 high water, ?6 newest slot (microseconds since 1970).
-- Index:      the primary key of cursor.
-- Why:        no guard of its own: the compare of the compare-and-set is in the specification, in this transaction.
insert into cursor (job, scope_kind, scope_id, at, high_water, newest_slot) values (?1, ?2, ?3, ?4, ?5, ?6)
on conflict (job, scope_kind, scope_id) do update
set at = excluded.at, high_water = excluded.high_water, newest_slot = excluded.newest_slot
