-- Purpose:    enters a migration in the ledger.
-- Parameters: ?1 version, ?2 name, ?3 applied at (microseconds since 1970).
-- Index:      the primary key of migration refuses a second entry (G12).
insert into migration (version, name, applied_at) values (?1, ?2, ?3)
