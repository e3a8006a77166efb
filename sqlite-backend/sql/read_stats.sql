-- Purpose:    live rows by job and state, with the oldest instant since which one could be claimed.
-- Index:      none: it reads the live table once.
select job, state, count(*), min(claimable_at) from execution group by job, state
