-- Purpose:    keeps the event of a transition, in its transaction.
-- Parameters: all columns in the order of the table; instants in microseconds since 1970.
-- Index:      the primary key of audit refuses a second event of one transition (G9).
insert into audit (
    execution, generation, fence, step, at, job, scope_kind, scope_id, actor_type, actor, action, details
) values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
