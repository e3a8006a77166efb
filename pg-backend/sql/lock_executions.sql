-- Locks live rows, in id order, for the statement that follows in the same transaction.
--
-- $1 uuid[]  execution ids
--
-- Index: primary key. Why two statements: a row that a settle moves to history while we wait for its lock is in
-- neither table of the waiting statement's snapshot. The next statement has a new one.
select count(*)::text as reply
from (select e.id from {schema}.execution e where e.id = any ($1::uuid[]) order by e.id for update of e) locked
