-- Purpose:    takes a finished row out of the live ones.
-- Parameters: ?1 id, ?2 generation, ?3 fence.
-- Index:      the primary key of execution.
-- Why:        the live table stays as small as the work that is left; history gets the row in the same transaction.
delete from execution
where id = ?1 and generation = ?2 and fence = ?3
