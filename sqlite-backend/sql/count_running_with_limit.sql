-- Purpose:    how many rows run under one limit key (G15).
-- Parameters: ?1 limit key.
-- Index:      execution_limit.
-- Why:        counted, not kept in a counter: at most limit_max rows are read, and a counter can drift.
select count(*)
from execution indexed by execution_limit
where limit_key = ?1 and state = 'running'
