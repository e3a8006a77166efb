-- Tries a session advisory lock; answers whether this session has it now.
--
-- $1 text  schema name
-- $2 text  lock name
--
-- No table: the lock is the server's. Runs on a connection of its own, which must not go back to a pool (A14). The key
-- is a hash, so that two names may share one; they would exclude each other, which costs a tick and breaks nothing.
select pg_try_advisory_lock(hashtextextended('tourbillon lock ' || $1::text || ' ' || $2::text, 0)) as reply
