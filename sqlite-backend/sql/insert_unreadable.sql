-- Purpose:    keeps a live row that cannot be read, with the reason.
-- Parameters: ?1 now (microseconds since 1970), ?2 reason, ?3 id.
-- Index:      the primary key of execution.
insert into unreadable select e.*, ?1, ?2 from execution as e where e.id = ?3
