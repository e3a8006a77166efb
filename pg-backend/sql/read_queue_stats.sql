-- Counts the items of one queue by state, and their retries.
--
-- $1 timestamptz  now, or null for the server's clock
-- $2 text         queue
--
-- Index: execution_claim and history_item: it reads the rows of the queue once. Of its turns: see read_stats.sql.
with clock as materialized (
    select coalesce($1::timestamptz, clock_timestamp()) as now, $2::text collate "C" as job
),
item as materialized (
    select e.state, e.created_at, e.attempt, e.started_at, true as live
    from {schema}.execution e where {lane:e} = $2::text
    union all
    select h.state, h.created_at, h.attempt, h.started_at, false
    from {schema}.history h where h.job = $2::text and h.slot_at is null
)
select json_build_object('queue_stats', json_build_object(
    'now', (select {schema}.micros(c.now) from clock c),
    'scheduled', count(*) filter (where i.state = 'scheduled'),
    'running', count(*) filter (where i.state = 'running'),
    'retryable', count(*) filter (where i.state = 'retryable'),
    'succeeded', count(*) filter (where i.state = 'succeeded'),
    'dead', count(*) filter (where i.state = 'dead'),
    'cancelled', count(*) filter (where i.state = 'cancelled'),
    'skipped', count(*) filter (where i.state = 'skipped'),
    'oldest_at', {schema}.micros(min(i.created_at) filter (where i.live)),
    'newest_at', {schema}.micros(max(i.created_at) filter (where i.live)),
    'retries', coalesce(sum(greatest(i.attempt - 1, 0)), 0),
    'last_retry_at', {schema}.micros(max(i.started_at) filter (where i.attempt > 1)),
    'turns', (select {turns_json:c} from clock c)))::text as reply
from item i
