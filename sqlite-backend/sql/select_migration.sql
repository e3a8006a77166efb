-- Purpose:    the version of the newest migration that was applied; null when none was.
-- Index:      the primary key of migration.
select max(version) from migration
