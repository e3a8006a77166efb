-- Purpose:    whether the ledger of migrations is there at all.
select exists (select 1 from sqlite_schema where type = 'table' and name = 'migration')
