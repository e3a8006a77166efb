-- Purpose:    removes all finished generations of one execution.
-- Parameters: ?1 id.
-- Index:      the primary key of history.
delete from history where id = ?1
