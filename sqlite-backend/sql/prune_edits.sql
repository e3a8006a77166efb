-- Purpose:    deletes edits of stored schedules, those replaced first first; the newest of a scope is never replaced.
-- Parameters: ?1 replaced before (microseconds since 1970); ?2 at most how many.
-- Index:      none: a row for each scope that ever had a schedule, and the edits of the time for which they are kept.
delete from schedule where (job, scope_kind, scope_id, revision) in (
    select job, scope_kind, scope_id, revision from schedule
    where replaced_at < ?1
    order by replaced_at, job, scope_kind, scope_id, revision
    limit ?2
)
