-- Purpose:    the next priority, upwards, that any claimable row has.
-- Parameters: ?1 the priority before it (below all priorities to begin with).
-- Index:      execution_claim: one seek.
-- Why:        a claim visits each priority on its own, so that it seeks to the due rows of each and never walks over
--             the rows that are not due yet.
select min(priority)
from execution indexed by execution_claim
where claimable_at is not null and priority > ?1
