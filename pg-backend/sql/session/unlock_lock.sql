-- Gives a session advisory lock back; answers whether this session had it.
--
-- $1 text  schema name
-- $2 text  lock name
--
-- No table: the lock is the server's.
select pg_advisory_unlock(hashtextextended('tourbillon lock ' || $1::text || ' ' || $2::text, 0)) as reply
