-- Purpose:    deletes pauses that were lifted, first those that were lifted first.
-- Parameters: ?1 lifted before (microseconds since 1970); ?2 at most how many.
-- Index:      none: as many rows as somebody paused something within the time that edits are kept.
delete from pause where id in (
    select id from pause
    where resumed_at < ?1
    order by resumed_at, id
    limit ?2
)
