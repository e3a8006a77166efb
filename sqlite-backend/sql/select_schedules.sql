-- Purpose:    the schedules of one job that are in force.
-- Parameters: ?1 job.
-- Index:      schedule_newest, which is also the order.
select job, scope_kind, scope_id, revision, schedule, schedule_hash, note, edited_at, edited_by, replaced_at
from schedule indexed by schedule_newest
where job = ?1 and replaced_at is null and schedule is not null
order by scope_kind, scope_id
