-- Purpose:    how many live items a queue holds.
-- Parameters: ?1 job.
-- Index:      execution_item, whose entries are counted without reading a row.
select count(*) from execution indexed by execution_item where job = ?1 and slot_at is null
