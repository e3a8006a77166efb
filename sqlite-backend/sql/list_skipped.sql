-- Purpose:    a page of the missed-slot ledger.
-- Parameters: ?1 job or null; ?2 how many to pass over; ?3 how many.
-- Index:      skipped_order when one job is asked for or the ledger is read in order.
select job, scope_kind, scope_id, after_at, through_at, slot_count, reason, recorded_at
from skipped
where ?1 is null or job = ?1
order by job, scope_kind, scope_id, after_at, through_at, reason, recorded_at, number
limit ?3 offset ?2
