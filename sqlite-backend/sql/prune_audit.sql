-- Purpose:    deletes audit events, oldest first.
-- Parameters: ?1 earlier than (microseconds since 1970); ?2 at most how many.
-- Index:      audit_at for range and order.
-- Why:        as prune_history.
delete from audit where rowid in (
    select rowid from audit indexed by audit_at
    where at < ?1
    order by at, execution, generation, fence, step
    limit ?2
)
