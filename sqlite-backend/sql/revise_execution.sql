-- Purpose:    replaces what an operator may change in a waiting row.
-- Parameters: ?1 due time, ?2 priority, ?3 payload or null, ?4 claimable from, ?5 now (instants in microseconds since
--             1970); ?6 id, ?7 generation and ?8 fence of the row that is replaced.
-- Index:      the primary key of execution.
-- Why:        guarded like update_execution.sql, which leaves these columns alone.
update execution set due_at = ?1, priority = ?2, payload = ?3, claimable_at = ?4, updated_at = ?5
where id = ?6 and generation = ?7 and fence = ?8
