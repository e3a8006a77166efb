-- Locks: one row per name, never deleted, since the epoch must only grow (G7).
create table {schema}.lock (
    name text collate "C" primary key,
    epoch bigint not null check (epoch > 0),
    holder uuid not null,
    token uuid not null,
    ttl_ms bigint not null check (ttl_ms > 0),
    acquired_at timestamptz not null,
    renewed_at timestamptz not null,
    expires_at timestamptz not null,
    released_at timestamptz
) with (fillfactor = 50);
