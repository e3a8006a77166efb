-- Purpose:    keys of a queue that have no turn now, as far as their own record says.
-- Parameters: ?1 queue; ?2 now (microseconds since 1970).
-- Index:      rate_gate_shut for range and order: as many as took a turn within one turn's time.
select key, queue, charged_at, opens_at, turn_us, burst from rate_gate indexed by rate_gate_shut
where queue = ?1 and opens_at > ?2
order by opens_at, key
