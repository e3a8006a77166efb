-- Purpose:    a page of stored schedules.
-- Parameters: ?1 job or null; ?2 and ?3 scope or nulls; ?4 whether all revisions count; ?5 to ?8 job, scope and revision
--             of the last one of the page before, or nulls; ?9 how many.
-- Index:      the primary key of schedule, in its order.
select job, scope_kind, scope_id, revision, schedule, schedule_hash, note, edited_at, edited_by, replaced_at
from schedule
where (?1 is null or job = ?1) and (?2 is null or (scope_kind = ?2 and scope_id = ?3))
  and (?4 or (replaced_at is null and schedule is not null))
  and (?5 is null or (job, scope_kind, scope_id, revision) > (?5, ?6, ?7, ?8))
order by job, scope_kind, scope_id, revision
limit ?9
