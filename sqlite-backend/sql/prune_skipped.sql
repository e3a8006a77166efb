-- Purpose:    deletes ledger entries, oldest first.
-- Parameters: ?1 recorded before (microseconds since 1970); ?2 at most how many.
-- Index:      skipped_recorded for range and order.
delete from skipped where number in (
    select number from skipped indexed by skipped_recorded
    where recorded_at < ?1
    order by recorded_at, number
    limit ?2
)
