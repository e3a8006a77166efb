-- Purpose:    one lock.
-- Parameters: ?1 name.
-- Index:      the primary key of lock.
select name, epoch, holder, token, ttl_ms, acquired_at, renewed_at, expires_at, released_at from lock where name = ?1
