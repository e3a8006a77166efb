-- Ends attempts: each row goes to history, or is forgotten, or waits for its next attempt.
--
-- $1 timestamptz  now, or null for the server's clock
-- $2 uuid         request id
-- $3 uuid[]       execution ids, each at most once
-- $4 uuid[]       tokens
-- $5 bigint[]     fences
-- $6 text[]       outcomes: succeeded, failed, released, snoozed, cancelled
-- $7 text[]       results as canonical JSON (succeeded)
-- $8 bigint[]     rows affected (succeeded)
-- $9 text[]       error codes (failed, cancelled)
-- $10 text[]      error texts (failed, cancelled)
-- $11 bigint[]    delays in milliseconds (failed: null is "never again"; snoozed)
-- $12 text        error code of a row that is given back after its cancellation was asked for
-- $13 text        error text of the same
-- $14 text[]      what is kept of the row when that is its end: everything, failures, nothing
--
-- Answers JSON: now; "codes", a letter for each row that was found, in the order of the request (see settle.rs);
-- "found", the positions of those rows, from 1, or null when all were found.
--
-- Index: primary key. Rows are locked in id order, then the clock is read, then gates are locked in key order: rows
-- before gates, everywhere. The receipt is in the same statement: a copy of this request that runs at the same
-- time waits for the rows, then fails on receipt_pkey and is answered from the receipt.
--
-- What the request says of a row travels with the row from its lock on, and what history keeps comes from the delete: to
-- join two lists of n rows once more costs n * n, since the planner takes each for ten rows.
with
first as materialized (
    select r.reply from {schema}.receipt r where r.request = $2::uuid
),
input as materialized (
    -- Subqueries: see enqueue_items.sql.
    select * from unnest((select $3::uuid[]), (select $4::uuid[]), (select $5::bigint[]), (select $6::text[]),
        (select $7::text[]), (select $8::bigint[]), (select $9::text[]), (select $10::text[]), (select $11::bigint[]),
        (select $14::text[]))
        with ordinality as i (id, token, fence, outcome, new_result, new_rows, code, message, delay_ms, retain, ord)
    where not exists (select from first)
),
locked as materialized (
    select i.ord, i.outcome, i.new_result, i.new_rows, i.code, i.message, i.delay_ms,
        -- A slot is remembered, and so is whatever had another life: the next one goes on from its fence.
        case when e.slot_at is null and e.generation = 1 then i.retain else 'everything' end as retain,
        e.state <> 'running' or e.token <> i.token or e.fence <> i.fence as is_lost,
        e.id, e.generation, e.job, e.scope_kind, e.scope_id, e.fence, e.runner, e.started_at, e.attempt,
        e.max_attempts, e.cancel_requested_at, e.limit_key, e.audit, e.error_code, e.error_text
    from {schema}.execution e join input i on i.id = e.id order by e.id for update of e
),
clock as materialized (
    select coalesce($1::timestamptz, clock_timestamp()) as now from (select count(*) from locked) l
),
decided as materialized (
    select l.*,
        case
            when l.is_lost then 'lease_lost'
            when l.started_at is null and l.outcome <> 'released' then 'not_started'
        end as refusal,
        case
            when l.outcome = 'succeeded' then 'succeeded'
            when l.outcome = 'cancelled' or l.cancel_requested_at is not null then 'cancelled'
            when l.outcome <> 'failed' then 'scheduled'
            when l.delay_ms is not null and l.attempt < l.max_attempts then 'retryable'
            else 'dead'
        end as target
    from locked l
),
ended as materialized (
    select d.*,
        d.target not in ('scheduled', 'retryable')
            and (d.retain = 'nothing' or (d.retain = 'failures' and d.target = 'succeeded')) as is_forgotten,
        case when d.outcome in ('failed', 'cancelled') then d.code
             when d.target = 'cancelled' then $12::text else d.error_code end as end_code,
        case when d.outcome in ('failed', 'cancelled') then d.message
             when d.target = 'cancelled' then $13::text else d.error_text end as end_text
    from decided d cross join clock c
    where d.refusal is null
),
waiting as (
    update {schema}.execution e
    set state = d.target,
        claimable_at = c.now + coalesce(d.delay_ms, 0) * interval '1 millisecond',
        rescue_at = null,
        attempt = d.attempt - (d.target = 'scheduled' and d.started_at is not null)::int,
        finished_at = c.now,
        duration_ms = {elapsed:d},
        error_code = d.end_code,
        error_text = d.end_text,
        updated_at = c.now
    from ended d cross join clock c
    where e.id = d.id and d.target in ('scheduled', 'retryable')
),
forgotten as (
    delete from {schema}.execution e using ended d where e.id = d.id and d.is_forgotten
),
gone as (
    delete from {schema}.execution e using ended d
    where e.id = d.id and d.target not in ('scheduled', 'retryable') and not d.is_forgotten
    returning {kept_columns:e}, e.rows_affected, e.result, e.skip_reason, d.target, d.new_rows, d.new_result,
        d.end_code, d.end_text
),
buried as (
    insert into {schema}.history ({kept_columns}, state, finished_at, updated_at, duration_ms, rows_affected,
        result, error_code, error_text, skip_reason)
    select {kept_columns:g}, g.target, c.now, c.now,
        {elapsed:g},
        case when g.target = 'succeeded' then g.new_rows else g.rows_affected end,
        case when g.target = 'succeeded' then g.new_result::json else g.result end,
        g.end_code, g.end_text, g.skip_reason
    from gone g cross join clock c
),
told as (
    insert into {schema}.audit ({audit_columns})
    select t.id, t.generation, t.fence, 5, c.now, t.job, t.scope_kind, t.scope_id,
        -- That a failed row is tried again is the system's rule, not the runner's choice (P-43).
        case t.action when 'job_retry' then 'system' else 'runner' end,
        case t.action when 'job_retry' then 'system' else t.runner::text end,
        t.action,
        json_build_object('old_status', 'running', 'new_status', t.target,
            'attempts', t.attempt - (t.target = 'scheduled' and t.started_at is not null)::int,
            'max_attempts', t.max_attempts,
            'reason', case when t.target in ('retryable', 'dead', 'cancelled') then t.end_code end)
    from (select d.*, case d.target when 'succeeded' then 'job_succeeded' when 'retryable' then 'job_retry'
                  when 'cancelled' then 'job_cancel' when 'dead' then 'job_dead'
                  else case d.outcome when 'snoozed' then 'job_snooze' else 'job_release' end end as action
          from ended d where d.audit <> 'off') t
    cross join clock c
    where {schema}.tells(t.audit, t.action)
),
gate as materialized (
    select g.key from {schema}.limit_gate g
    where g.key = any (array(select distinct d.limit_key from ended d where d.limit_key is not null))
    order by g.key
    for update
),
counted as (
    update {schema}.limit_gate g
    set running = g.running - left_running.rows
    from (select d.limit_key, count(*) as rows from ended d join gate on gate.key = d.limit_key
          group by d.limit_key) left_running
    where g.key = left_running.limit_key
),
reply as materialized (
    select json_build_object(
        'now', {schema}.micros(c.now),
        'codes', coalesce((
            select string_agg(case coalesce(d.refusal, d.target)
                when 'succeeded' then 's' when 'retryable' then 'r' when 'scheduled' then 'w' when 'dead' then 'd'
                when 'cancelled' then 'c' when 'not_started' then 'N' else 'L' end, '' order by d.ord)
            from decided d), ''),
        'found', (select case when count(*) < cardinality($3::uuid[])
                then coalesce(json_agg(d.ord order by d.ord), '[]') end from decided d)) as reply
    from clock c
    where not exists (select from first)
),
kept as (
    insert into {schema}.receipt (request, received_at, reply)
    select $2::uuid, c.now, r.reply from reply r cross join clock c
)
select coalesce((select f.reply from first f), (select r.reply from reply r))::text as reply
