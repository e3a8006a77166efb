-- Purpose:    turns that were taken in a future which the database clock has withdrawn.
-- Parameters: ?1 now (microseconds since 1970).
-- Index:      none: it happens once per step of the clock. Read in the order of the primary key.
select key, queue, charged_at, opens_at, turn_us, burst from rate_gate where charged_at > ?1 order by key
