-- Purpose:    the next priority, upwards, that the rows of each lane have; lanes without one are left out.
-- Parameters: ?1 lanes as a JSON array; ?2 the priority before it (below all priorities to begin with).
-- Index:      execution_claim: one seek a lane.
-- Why:        a claim visits each priority on its own, so that it seeks to the due rows of each and never walks over
--             the rows that are not due yet.
select lane, priority
from (
    select value as lane, (
        select min(priority)
        from execution indexed by execution_claim
        where case when slot_at is null then job else '' end = value and priority > ?2
    ) as priority
    from json_each(?1)
)
where priority is not null
