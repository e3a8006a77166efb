-- Removes up to $5 items of one queue that ended long enough ago, with all their generations, oldest finish first.
--
-- $1 timestamptz  now, or null for the server's clock
-- $2 text         queue
-- $3 text[]       states in which they ended
-- $4 bigint       ended longer ago than this many milliseconds
-- $5 bigint       most items
--
-- Index: history_item for range and order; primary keys to pass over items that live, or ended again since. Runs in one
-- transaction behind lock_requeue.sql, so that no requeue makes a row of what we remove. SKIP LOCKED: what a prune
-- removes is none of ours.
with
clock as materialized (
    select n.now, n.now - $4::bigint * interval '1 millisecond' as before
    from (select coalesce($1::timestamptz, clock_timestamp()) as now) n
),
ended as materialized (
    select h.* from {schema}.history h
    where h.job = $2::text and h.slot_at is null and h.finished_at < (select c.before from clock c)
      and h.state = any ($3::text[])
      and not exists (select from {schema}.execution e where e.id = h.id)
      and not exists (select from {schema}.history n where n.id = h.id and n.generation > h.generation)
    order by h.finished_at, h.id
    limit $5::bigint
    for update of h skip locked
),
gone as (
    delete from {schema}.history h using ended e where h.id = e.id
),
told as (
    insert into {schema}.audit ({audit_columns})
    select e.id, e.generation, e.fence, 7, c.now, e.job, e.scope_kind, e.scope_id, 'system', 'system', 'job_delete',
        json_build_object('old_status', e.state, 'new_status', e.state, 'attempts', e.attempt,
            'max_attempts', e.max_attempts, 'reason', null)
    from ended e cross join clock c
    where {schema}.tells(e.audit, 'job_delete')
)
select json_build_object('items_cleaned', json_build_object(
    'now', {schema}.micros(c.now),
    'removed', coalesce((select json_agg(e.id order by e.finished_at, e.id) from ended e), '[]')))::text as reply
from clock c
