-- Purpose:    a page of locks, in order of their names.
-- Parameters: ?1 the name that the page begins after; every name is greater than '', ?2 most rows.
-- Index:      the primary key of lock.
select name, epoch, holder, token, ttl_ms, acquired_at, renewed_at, expires_at, released_at from lock
where name > ?1
order by name
limit ?2
