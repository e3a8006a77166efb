-- Moves cursors by compare-and-set and inserts their slots; records the slots that are not made.
--
-- $1 timestamptz   now, or null for the server's clock
-- $2 uuid          request id
-- $3-$10           entries, each (job, scope) at most once: text[] job, text[] scope kind, text[] scope id,
--                  text[] spec hash, text[] hash of the scope's own schedule (null: it has the job's), timestamptz[]
--                  expected cursor (null: none), timestamptz[] target, bigint[] delay in milliseconds
-- $11-$24          slots, in order: bigint[] number of the entry (from 1), uuid[] id, timestamptz[] slot, due and
--                  expiry, smallint[] priority, text[] payload (JSON), text[] unique key, bigint[] most attempts,
--                  bigint[] lease in milliseconds, text[] re-entry, text[] supersede, text[] limit key,
--                  bigint[] limit
-- $25-$29          ledger entries, in order: bigint[] number of the entry, timestamptz[] after and through,
--                  bigint[] count, text[] reason
-- $30 text[]       of each slot, which transitions are told
--
-- Index: primary keys of job and cursor; execution_slot and history_slot for slots at or before the high-water mark,
-- which exist only after the database clock stepped back.
--
-- One statement: job records are locked FOR SHARE in name order (a registration waits, other planners do not),
-- then cursors in key order, then the clock is read; the locks yield the newest versions, whatever the snapshot. A
-- cursor that another planner inserts meanwhile is in no version that we see: our insert then fails on cursor_pkey
-- and the statement is run again. slot_exists needs no newer snapshot: slots are only made under the cursor's lock, and
-- a cursor that moved after our snapshot fails the compare-and-set.
with
first as materialized (
    select r.reply from {schema}.receipt r where r.request = $2::uuid
),
entry as materialized (
    select * from unnest($3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
        $8::timestamptz[], $9::timestamptz[], $10::bigint[])
        with ordinality as n (job, scope_kind, scope_id, spec_hash, schedule_hash, expect, target, delay_ms, ord)
    where not exists (select from first)
),
job_lock as materialized (
    select j.name, j.spec_hash, j.edited_at, j.paused from {schema}.job j
    where j.name = any (array(select distinct n.job from entry n))
    order by j.name
    for share
),
cursor_lock as materialized (
    select k.* from {schema}.cursor k
    join entry n on n.job = k.job and n.scope_kind = k.scope_kind and n.scope_id = k.scope_id
    where (select count(*) from job_lock) >= 0
    order by k.job, k.scope_kind, k.scope_id
    for update of k
),
clock as materialized (
    select coalesce($1::timestamptz, clock_timestamp()) as now from (select count(*) from cursor_lock) l
),
decided as materialized (
    select n.*, k.at, k.high_water, k.newest_slot, k.edited_at,
        case
            when j.spec_hash is distinct from n.spec_hash then 'spec_superseded'
            when k.at is distinct from n.expect then 'cursor_moved'
            when k.schedule_hash is distinct from n.schedule_hash then 'schedule_changed'
            when n.target + n.delay_ms * interval '1 millisecond' > c.now then 'not_due'
            -- Going back is allowed only from a future that the database clock has withdrawn.
            when n.target <= n.expect and n.expect + n.delay_ms * interval '1 millisecond' <= c.now then 'not_due'
            -- … and never past an edit, unless that was made in a withdrawn future itself.
            when n.target < j.edited_at and j.edited_at <= c.now then 'not_due'
            when n.target < k.edited_at and k.edited_at <= c.now then 'not_due'
            when j.paused or k.paused then 'paused'
            else 'made'
        end as outcome
    from entry n cross join clock c
    left join job_lock j on j.name = n.job
    left join cursor_lock k on k.job = n.job and k.scope_kind = n.scope_kind and k.scope_id = n.scope_id
),
slot as materialized (
    select s.*, d.job, d.scope_kind, d.scope_id,
        s.slot_at <= d.high_water and (
            row_number() over (partition by s.entry, s.slot_at order by s.ord) > 1
            or exists (select from {schema}.execution e
                       where e.job = d.job and e.scope_kind = d.scope_kind and e.scope_id = d.scope_id
                         and e.slot_at = s.slot_at)
            or exists (select from {schema}.history h
                       where h.job = d.job and h.scope_kind = d.scope_kind and h.scope_id = d.scope_id
                         and h.slot_at = s.slot_at)) as seen
    from unnest($11::bigint[], $12::uuid[], $13::timestamptz[], $14::timestamptz[], $15::timestamptz[],
        $16::smallint[], $17::text[], $18::text[], $19::bigint[], $20::bigint[], $21::text[], $22::text[],
        $23::text[], $24::bigint[], $30::text[])
        with ordinality as s (entry, id, slot_at, due_at, expires_at, priority, payload, unique_key, max_attempts,
            lease_ms, reentry, supersede, limit_key, limit_max, audit, ord)
    join decided d on d.ord = s.entry and d.outcome = 'made'
),
newest as materialized (
    select s.entry, max(s.slot_at) as slot_at from slot s group by s.entry
),
gate as (
    insert into {schema}.limit_gate (key)
    select distinct s.limit_key collate "C" from slot s where s.limit_key is not null and s.seen is not true order by 1
    on conflict do nothing
),
made as (
    insert into {schema}.execution (id, generation, job, scope_kind, scope_id, slot_at, due_at, expires_at, priority,
        payload, unique_key, max_attempts, lease_ms, reentry, supersede, limit_key, limit_max, audit, state,
        claimable_at, attempt, fence, created_at, updated_at)
    select s.id, 1, s.job, s.scope_kind, s.scope_id, s.slot_at, s.due_at, s.expires_at, s.priority,
        s.payload::json, s.unique_key, s.max_attempts, s.lease_ms, s.reentry, s.supersede, s.limit_key, s.limit_max,
        s.audit, 'scheduled', s.due_at, 0, 0, c.now, c.now
    from slot s cross join clock c
    -- An id that history has must not be made again: its end would meet itself there. Twice in this insert it fails
    -- on execution_pkey, like an id that is live.
    cross join lateral generate_series(1, 1 + exists (select from {schema}.history h where h.id = s.id)::int)
    where s.seen is not true
    order by s.ord
),
told as (
    insert into {schema}.audit ({audit_columns})
    select s.id, 1, 0, 0, c.now, s.job, s.scope_kind, s.scope_id, 'system', 'system', 'job_schedule',
        json_build_object('old_status', null, 'new_status', 'scheduled', 'attempts', 0,
            'max_attempts', s.max_attempts, 'reason', null)
    from slot s cross join clock c
    where s.seen is not true and {schema}.tells(s.audit, 'job_schedule')
),
recorded as (
    insert into {schema}.skipped (job, scope_kind, scope_id, after, through, count, reason, recorded_at)
    select d.job, d.scope_kind, d.scope_id, x.after, x.through, x.count, x.reason, c.now
    from unnest($25::bigint[], $26::timestamptz[], $27::timestamptz[], $28::bigint[], $29::text[])
        with ordinality as x (entry, after, through, count, reason, ord)
    join decided d on d.ord = x.entry and d.outcome = 'made'
    cross join clock c
    order by x.entry, x.ord
),
dropped as (
    insert into {schema}.skipped (job, scope_kind, scope_id, after, through, count, reason, recorded_at)
    select d.job, d.scope_kind, d.scope_id, d.at, c.now, null, 'schedule_changed', c.now
    from decided d cross join clock c
    where d.outcome = 'schedule_changed' and d.at < c.now
    order by d.ord
),
moved as (
    update {schema}.cursor k
    set at = d.target, high_water = greatest(d.high_water, d.target),
        newest_slot = greatest(case when d.newest_slot <= d.target then d.newest_slot end, n.slot_at)
    from decided d
    left join newest n on n.entry = d.ord
    where d.outcome = 'made' and d.at is not null
      and k.job = d.job and k.scope_kind = d.scope_kind and k.scope_id = d.scope_id
),
edited as (
    update {schema}.cursor k
    set at = c.now, high_water = greatest(d.high_water, c.now),
        newest_slot = case when d.newest_slot <= c.now then d.newest_slot end,
        schedule_hash = d.schedule_hash, edited_at = c.now
    from decided d cross join clock c
    where d.outcome = 'schedule_changed' and d.at is not null
      and k.job = d.job and k.scope_kind = d.scope_kind and k.scope_id = d.scope_id
),
begun as (
    insert into {schema}.cursor (job, scope_kind, scope_id, at, high_water, newest_slot, schedule_hash, edited_at)
    select d.job, d.scope_kind, d.scope_id, f.at, f.at, n.slot_at, d.schedule_hash, f.edited_at
    from decided d cross join clock c
    cross join lateral (select
        case d.outcome when 'made' then d.target else c.now end as at,
        case d.outcome when 'made' then null else c.now end as edited_at) f
    left join newest n on n.entry = d.ord
    where d.outcome in ('made', 'schedule_changed') and d.at is null
    order by d.job collate "C", d.scope_kind collate "C", d.scope_id collate "C"
),
reply as materialized (
    select json_build_object('planned', json_build_object(
        'now', {schema}.micros(c.now),
        'outcomes', coalesce((
            select json_agg(case d.outcome
                when 'made' then json_build_object('made', coalesce((
                    select json_agg(s.id order by s.ord) from slot s
                    where s.entry = d.ord and s.seen is not true), '[]'))
                when 'cursor_moved' then json_build_object('cursor_moved', {schema}.micros(d.at))
                else to_json(d.outcome) end order by d.ord)
            from decided d), '[]'))) as reply
    from clock c
    where not exists (select from first)
),
kept as (
    insert into {schema}.receipt (request, received_at, reply)
    select $2::uuid, c.now, r.reply from reply r cross join clock c
)
select coalesce((select f.reply from first f), (select r.reply from reply r))::text as reply
