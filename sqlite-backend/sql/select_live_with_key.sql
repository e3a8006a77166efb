-- Purpose:    the live execution with a unique key (G11).
-- Parameters: ?1 key.
-- Index:      execution_unique, which holds at most one entry.
select id from execution indexed by execution_unique where unique_key = ?1
