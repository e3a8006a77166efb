-- Purpose:    the items of one queue by state, with the oldest and newest of each, retries and the last of them.
-- Parameters: ?1 queue.
-- Index:      execution_claim and history_item: it reads the rows of the queue once.
select
    state, count(*), min(created_at), max(created_at), sum(max(attempt - 1, 0)),
    max(case when attempt > 1 then started_at end)
from (
    select state, created_at, attempt, started_at from execution where case when slot_at is null then job else '' end = ?1
    union all
    select state, created_at, attempt, started_at from history where job = ?1 and slot_at is null
)
group by state
