-- Purpose:    deletes edits of stored schedules, those replaced first first; the newest of a scope is never replaced.
-- Parameters: ?1 replaced before (microseconds since 1970); ?2 at most how many.
-- Index:      none: as many rows as scopes have schedules, and edits within the time that edits are kept.
delete from schedule where (job, scope_kind, scope_id, revision) in (
    select job, scope_kind, scope_id, revision from schedule
    where replaced_at < ?1
    order by replaced_at, job, scope_kind, scope_id, revision
    limit ?2
)
