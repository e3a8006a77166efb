-- Purpose:    the first reply to a request, if it is still kept.
-- Parameters: ?1 request id.
-- Index:      the primary key of receipt.
select reply from receipt where request_id = ?1
