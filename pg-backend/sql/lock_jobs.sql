-- Locks job records, in name order, for the registration that follows in the same transaction.
--
-- $1 text[]  job names
--
-- Index: primary key. Why two statements: a planner that we wait for may insert a cursor that our snapshot does not
-- show; the next statement has a new one. (Planners hold the job FOR SHARE, see plan_slots.sql.)
select count(*)::text as reply
from (select j.name from {schema}.job j where j.name = any ($1::text[]) order by j.name for update) locked
