-- Purpose:    forgets the turns of limit keys that are rested, oldest first.
-- Parameters: ?1 took none since (microseconds since 1970); ?2 now; ?3 at most how many.
-- Index:      none: as many rows as keys took a turn within the idempotency window, and those that are forgotten here.
delete from rate_gate where key in (
    select key from rate_gate
    where charged_at < ?1 and opens_at + (max(burst, 1) - 1) * turn_us <= ?2
    order by charged_at, key
    limit ?3
)
