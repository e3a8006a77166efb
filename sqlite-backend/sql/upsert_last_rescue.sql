-- Purpose:    remembers when the last rescue ran.
-- Parameters: ?1 now (microseconds since 1970).
-- Index:      the primary key of meta.
insert into meta (id, last_rescue_at) values (1, ?1)
on conflict (id) do update set last_rescue_at = excluded.last_rescue_at
