-- Purpose:    deletes receipts, oldest first: the end of the idempotency window.
-- Parameters: ?1 recorded before (microseconds since 1970); ?2 at most how many.
-- Index:      receipt_recorded for range and order.
delete from receipt where rowid in (
    select rowid from receipt indexed by receipt_recorded
    where recorded_at < ?1
    order by recorded_at, request_id
    limit ?2
)
