-- Purpose:    stores a lock after it was acquired, renewed, released or clamped.
-- Parameters: ?1 name, ?2 epoch, ?3 holder, ?4 token, ?5 time to live in milliseconds, ?6 acquired, ?7 renewed, ?8 expires,
--             ?9 released (microseconds since 1970).
-- Index:      the primary key of lock.
-- Why:        no guard of its own: token and epoch are compared in the specification, in this transaction.
insert into lock (name, epoch, holder, token, ttl_ms, acquired_at, renewed_at, expires_at, released_at)
values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
on conflict (name) do update
set epoch = excluded.epoch, holder = excluded.holder, token = excluded.token, ttl_ms = excluded.ttl_ms,
    acquired_at = excluded.acquired_at, renewed_at = excluded.renewed_at, expires_at = excluded.expires_at,
    released_at = excluded.released_at
