-- Answers whether this very session still has its advisory lock.
--
-- $1 text  schema name
-- $2 text  lock name
--
-- Asks the server's lock table for this backend: behind a transaction pooler another backend would answer, and say no.
select exists (
    select from pg_locks l
    where l.locktype = 'advisory' and l.pid = pg_backend_pid() and l.granted and l.objsubid = 1
        and l.database = (select d.oid from pg_database d where d.datname = current_database())
        and (l.classid::bigint << 32) | l.objid::bigint
            = hashtextextended('tourbillon lock ' || $1::text || ' ' || $2::text, 0)
) as reply
