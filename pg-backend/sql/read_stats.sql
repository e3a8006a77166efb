-- Counts live executions by job and state.
--
-- $1 timestamptz  now, or null for the server's clock
--
-- No index: reads the hot table once, which is small by design.
with counted as materialized (
    select e.job,
        count(*) filter (where e.state = 'scheduled') as scheduled,
        count(*) filter (where e.state = 'running') as running,
        count(*) filter (where e.state = 'retryable') as retryable,
        min(e.claimable_at) as oldest
    from {schema}.execution e
    group by e.job
)
select json_build_object('stats', json_build_object(
    'now', {schema}.micros(coalesce($1::timestamptz, clock_timestamp())),
    'jobs', coalesce((
        select json_object_agg(n.job, json_build_object(
            'scheduled', n.scheduled, 'running', n.running, 'retryable', n.retryable,
            'oldest_claimable_at', {schema}.micros(n.oldest)))
        from counted n), '{}')))::text as reply
