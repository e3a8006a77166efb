-- Purpose:    stores the turns of a limit key after one was taken, or clamped.
-- Parameters: ?1 limit key, ?2 queue, ?3 when the last was taken, ?4 from when the next is (microseconds since
--             1970), ?5 microseconds from turn to turn, ?6 how many at once.
-- Index:      the primary key of rate_gate.
insert into rate_gate (key, queue, charged_at, opens_at, turn_us, burst)
values (?1, ?2, ?3, ?4, ?5, ?6)
on conflict (key) do update
set queue = excluded.queue, charged_at = excluded.charged_at, opens_at = excluded.opens_at,
    turn_us = excluded.turn_us, burst = excluded.burst
