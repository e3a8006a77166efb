-- Purpose:    whether audit events tell of this execution.
-- Parameters: ?1 id.
-- Index:      the primary key of audit.
select exists (select 1 from audit where execution = ?1)
