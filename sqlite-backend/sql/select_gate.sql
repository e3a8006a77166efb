-- Purpose:    the turns of one limit key.
-- Parameters: ?1 limit key.
-- Index:      the primary key of rate_gate.
select key, queue, charged_at, opens_at, turn_us, burst from rate_gate where key = ?1
