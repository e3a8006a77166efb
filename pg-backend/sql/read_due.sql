-- Reads which of these jobs have rows that are due, by name, each once.
--
-- $1 timestamptz  now, or null for the server's clock
-- $2 text[]       job names
--
-- Index: execution_claim, one range per distinct priority, as claim_executions.sql has it and for the same reason: an idle
-- look reads no row. Locks: none.
--
-- Shape. What is due is read once, however many jobs are asked for. The job is not in the index, so a backlog costs a
-- look at each of its rows: the driver asks only for crews that have found nothing, so a backlog is mostly not theirs.
-- What a limit or a pause holds back is not looked into: that is the claim's to say.
with recursive
began as materialized (
    select coalesce($1::timestamptz, clock_timestamp()) as now
),
priority (value) as (
    (select e.priority from {schema}.execution e
     where e.claimable_at is not null
     order by e.priority limit 1)
    union all
    select (select e.priority from {schema}.execution e
            where e.claimable_at is not null and e.priority > p.value
            order by e.priority limit 1)
    from priority p where p.value is not null
),
due as materialized (
    select distinct d.job
    from unnest(array(select p.value from priority p where p.value is not null)) as p (value)
    cross join lateral (
        select e.job from {schema}.execution e
        where e.priority = p.value and e.claimable_at <= (select now from began) and e.job = any ($2::text[])
    ) d
)
select json_build_object('due_read', json_build_object(
    'now', {schema}.micros((select now from began)),
    'jobs', coalesce((select json_agg(d.job order by d.job collate "C") from due d), '[]')))::text as reply
