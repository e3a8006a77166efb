-- Reads which of these jobs have rows that are due, by name, each once.
--
-- $1 timestamptz  now, or null for the server's clock
-- $2 text[]       job names
--
-- Index: execution_claim, as claim_executions.sql has it and for the same reason: an idle look reads no row. Locks: none.
--
-- Shape. Of a queue's own lane one due row is enough to know. Of the lane of schedules, whose rows are of many jobs, all that is
-- due is looked at. What a limit or a pause holds back is not looked into: that is the claim's to say.
with recursive
began as materialized (
    select coalesce($1::timestamptz, clock_timestamp()) as now
),
lane (name, priority) as (
    select n.name, (select e.priority from {schema}.execution e where {lane:e} = n.name order by e.priority limit 1)
    from (select distinct unnest((select $2::text[] || ''::text))) as n (name)
    union all
    select l.name, (select e.priority from {schema}.execution e
                    where {lane:e} = l.name and e.priority > l.priority
                    order by e.priority limit 1)
    from lane l where l.priority is not null
),
due as materialized (
    select distinct d.job
    from unnest(array(select l.name from lane l where l.priority is not null),
        array(select l.priority from lane l where l.priority is not null)) as p (lane, priority)
    cross join lateral (
        (select e.job from {schema}.execution e
         where p.lane <> ''
           and {lane:e} = p.lane and e.priority = p.priority and e.claimable_at <= (select now from began)
           and {is_free:e}
         order by e.claimable_at, e.id
         limit 1)
        union all
        select e.job from {schema}.execution e
        where p.lane = ''
          and {lane:e} = '' and e.priority = p.priority and e.claimable_at <= (select now from began)
          and e.job = any ($2::text[])
          and {is_free:e}
    ) d
)
select json_build_object('due_read', json_build_object(
    'now', {schema}.micros((select now from began)),
    'jobs', coalesce((select json_agg(d.job order by d.job collate "C") from due d), '[]')))::text as reply
