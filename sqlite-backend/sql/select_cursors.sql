-- Purpose:    all cursors of one job, ordered by scope.
-- Parameters: ?1 job.
-- Index:      the primary key of cursor, which is also the order.
select scope_kind, scope_id, at, high_water, newest_slot, schedule_hash, edited_at from cursor where job = ?1 order by scope_kind, scope_id
