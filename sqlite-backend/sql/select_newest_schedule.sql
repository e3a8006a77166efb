-- Purpose:    the newest revision for one scope, be it a removal.
-- Parameters: ?1 job; ?2 scope kind; ?3 scope id.
-- Index:      schedule_newest.
select job, scope_kind, scope_id, revision, schedule, schedule_hash, note, edited_at, edited_by, replaced_at
from schedule indexed by schedule_newest
where job = ?1 and scope_kind = ?2 and scope_id = ?3 and replaced_at is null
