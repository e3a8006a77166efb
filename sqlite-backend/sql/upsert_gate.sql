-- Purpose:    stores the turns of a limit key after one was taken, or clamped.
-- Parameters: ?1 limit key, ?2 queue, ?3 when the last was taken, ?4 from when the next is (microseconds since 1970).
-- Index:      the primary key of rate_gate.
insert into rate_gate (key, queue, charged_at, opens_at)
values (?1, ?2, ?3, ?4)
on conflict (key) do update
set queue = excluded.queue, charged_at = excluded.charged_at, opens_at = excluded.opens_at
