-- Purpose:    held locks that were written in a future which the database clock has withdrawn.
-- Parameters: ?1 now (microseconds since 1970).
-- Index:      none: it happens once per step of the clock, and locks are few. Read in the order of the primary key.
select name, epoch, holder, token, ttl_ms, acquired_at, renewed_at, expires_at, released_at from lock
where released_at is null and renewed_at > ?1
order by name
