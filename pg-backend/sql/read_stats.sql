-- Counts live executions by job and state.
--
-- $1 timestamptz  now, or null for the server's clock
--
-- Reads the hot table once, which is small by design. Index of turns: limit_gate_shut, from its end for the rate; as many entries
-- as keys are shut.
with clock as materialized (
    select coalesce($1::timestamptz, clock_timestamp()) as now
),
counted as materialized (
    select e.job,
        count(*) filter (where e.state = 'scheduled') as scheduled,
        count(*) filter (where e.state = 'running') as running,
        count(*) filter (where e.state = 'retryable') as retryable,
        min({claimable_from:e}) as oldest
    from {schema}.execution e
    group by e.job
)
select json_build_object('stats', json_build_object(
    'now', {schema}.micros(c.now),
    'jobs', coalesce((
        select json_object_agg(n.job, json_build_object(
            'scheduled', n.scheduled, 'running', n.running, 'retryable', n.retryable,
            'oldest_claimable_at', {schema}.micros(n.oldest),
            'turns', {turns_json:n}))
        from counted n), '{}')))::text as reply
from clock c
