-- Purpose:    a page of audit events, ordered by (execution, generation, fence, step).
-- Parameters: ?1 job or null; ?2 and ?3 least and greatest execution; ?4 to ?7 execution, generation, fence and step
--             behind which the page begins; ?8 how many.
-- Index:      the primary key of audit, in order: a page costs what it returns plus what it filters.
select
    execution, generation, fence, step, at, job, scope_kind, scope_id, actor_type, actor, action, details
from audit
where execution between ?2 and ?3
    and (execution, generation, fence, step) > (?4, ?5, ?6, ?7)
    and (?1 is null or job = ?1)
order by execution, generation, fence, step
limit ?8
