-- Purpose:    which of these jobs have due rows of one lane and priority.
-- Parameters: ?1 job names as a JSON array; ?2 now (microseconds since 1970); ?3 priority; ?4 lane; ?5 how many jobs: of
--             a queue's own lane there is one, and its first row tells; -1 for all.
-- Index:      execution_claim.
-- Why:        priority by priority, as a claim, so that rows that are not due yet are never walked over. Each name once: what is
--             kept for that is a list of names, as short as ?1.
select distinct job
from execution indexed by execution_claim
where case when slot_at is null then job else '' end = ?4
    and priority = ?3
    and claimable_at is not null
    and claimable_at <= ?2
    and job in (select value from json_each(?1))
limit ?5
