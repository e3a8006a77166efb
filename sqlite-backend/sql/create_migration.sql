-- Purpose:    makes the ledger of migrations, if nobody has.
-- Why:        in the transaction of each migration, so that any number of processes may start on an empty file.
create table if not exists migration (
    version    integer not null primary key,
    name       text    not null,
    applied_at integer not null
) strict
