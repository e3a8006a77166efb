-- Purpose:    moves a cursor.
-- Parameters: ?1 job, ?2 scope kind, ?3 scope id, ?4 at, ?5 high water, ?6 newest slot, ?7 hash of the scope's own
--             schedule, ?8 its last edit (instants in microseconds since 1970).
-- Index:      the primary key of cursor.
-- Why:        no guard of its own: the compare of the compare-and-set is in the specification, in this transaction.
insert into cursor (job, scope_kind, scope_id, at, high_water, newest_slot, schedule_hash, edited_at)
values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
on conflict (job, scope_kind, scope_id) do update
set at = excluded.at, high_water = excluded.high_water, newest_slot = excluded.newest_slot,
    schedule_hash = excluded.schedule_hash, edited_at = excluded.edited_at
