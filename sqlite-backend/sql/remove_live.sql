-- Purpose:    removes a live row for good.
-- Parameters: ?1 id.
-- Index:      the primary key of execution.
delete from execution where id = ?1
