-- Purpose:    when the last rescue ran (microseconds since 1970).
-- Index:      the primary key of meta.
select last_rescue_at from meta where id = 1
