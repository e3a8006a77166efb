-- Locks: one row per name, never deleted, since the epoch must only grow (G7).
--
-- Instants are microseconds since 1970, as everywhere.
create table lock (
    name text not null primary key,
    epoch integer not null check (epoch > 0),
    holder blob not null check (length(holder) = 16),
    token blob not null check (length(token) = 16),
    ttl_ms integer not null check (ttl_ms > 0),
    acquired_at integer not null,
    renewed_at integer not null,
    expires_at integer not null,
    released_at integer
) strict, without rowid;
