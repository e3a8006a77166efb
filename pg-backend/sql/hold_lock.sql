-- Keeps the row of a lock for the acquire_lock that follows in the same transaction.
--
-- $1 text  name
--
-- Index: primary key. Why a statement of its own: what changed the row while this one waited is in the next one's
-- snapshot, and nobody changes it after that. Without it an acquire among many may see the row change behind its
-- snapshot at every try.
select l.name from {schema}.lock l where l.name = $1::text for update of l
