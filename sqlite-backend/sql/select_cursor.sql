-- Purpose:    how far one job and scope is planned.
-- Parameters: ?1 job, ?2 scope kind, ?3 scope id.
-- Index:      the primary key of cursor.
select at, high_water, newest_slot, schedule_hash, edited_at from cursor where job = ?1 and scope_kind = ?2 and scope_id = ?3
