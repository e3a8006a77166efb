-- Ends attempts as settle_executions.sql would, if all of them succeeded and each row only has to go; or ends none.
--
-- $1-$5           as settle_executions.sql
-- Keeping also:
-- $6 text[]       results as canonical JSON
-- $7 bigint[]     rows affected
--
-- Lines that end with [keeping] are in the statement that moves the rows to history; those with [forgetting] in the one that keeps
-- nothing of them.
--
-- Answers as that one does; or null when not every row is plain: then nothing was done, and that one is to be asked.
--
-- Index: primary key. Rows are locked in id order, then the clock is read, as everywhere.
--
-- Plain are rows held by these leases and started, whose end frees no place in a limit, is told by no audit event, and is forgotten
-- if the request says so.
--
-- A row is deleted at its place, where its lock found it, which spares a second look at the primary key. One that somebody else
-- changed while its lock was waited for is at a place that is not in this statement's snapshot; it is left over, and found by its id,
-- under which the snapshot knows it. What is gone already is passed over then.
--
-- Why. Most attempts succeed. The other statement carries what it was told of each row through every decision, and has five kinds
-- of writes; of rows that are deleted it costs two thirds more (docs/PERFORMANCE.md).
with
first as materialized (
    select r.reply from {schema}.receipt r where r.request = $2::uuid
),
input as materialized (
    -- Subqueries: see enqueue_items.sql.
    select * from unnest((select $3::uuid[]), (select $4::uuid[]), (select $5::bigint[])
        , (select $6::text[]), (select $7::bigint[]) --[keeping]
        ) as i (id, token, fence
        , result, rows_affected --[keeping]
        )
    where not exists (select from first)
),
locked as materialized (
    select i.id, e.ctid as place,
        i.result, i.rows_affected, --[keeping]
        e.state = 'running' and e.token = i.token and e.fence = i.fence and e.started_at is not null
            and e.limit_key is null and e.audit <> 'all'
            -- A slot is remembered, and so is whatever had another life: the next one goes on from its fence.
            and e.slot_at is null and e.generation = 1 --[forgetting]
            as is_plain
    from {schema}.execution e join input i on i.id = e.id order by e.id for update of e
),
clock as materialized (
    select coalesce($1::timestamptz, clock_timestamp()) as now, l.is_plain
    from (select count(*) filter (where l.is_plain) = cardinality($3::uuid[]) as is_plain from locked l) l
),
gone as (
    delete from {schema}.execution e using locked l
    where e.ctid = l.place and (select c.is_plain from clock c)
    returning e.id --[forgetting]
    returning {kept_columns:e}, e.error_code, e.error_text, e.skip_reason, l.result, l.rows_affected --[keeping]
),
left_over as (
    delete from {schema}.execution e using locked l
    where e.id = l.id and (select c.is_plain from clock c)
      and (select count(*) from gone) < cardinality($3::uuid[])
    returning {kept_columns:e}, e.error_code, e.error_text, e.skip_reason, l.result, l.rows_affected --[keeping]
),
buried as ( --[keeping]
    insert into {schema}.history ({kept_columns}, state, finished_at, updated_at, duration_ms, rows_affected, --[keeping]
        result, error_code, error_text, skip_reason) --[keeping]
    select {kept_columns:g}, 'succeeded', c.now, c.now, --[keeping]
        {elapsed:g}, --[keeping]
        g.rows_affected, g.result::json, g.error_code, g.error_text, g.skip_reason --[keeping]
    from (select * from gone union all select * from left_over) g cross join clock c --[keeping]
), --[keeping]
reply as materialized (
    select json_build_object('now', {schema}.micros(c.now), 'codes', repeat('s', cardinality($3::uuid[])), 'found', null) as reply
    from clock c
    -- Of no rows all are plain.
    where c.is_plain and not exists (select from first)
),
kept as (
    insert into {schema}.receipt (request, received_at, reply)
    select $2::uuid, c.now, r.reply from reply r cross join clock c
)
select coalesce((select f.reply from first f), (select r.reply from reply r))::text as reply
