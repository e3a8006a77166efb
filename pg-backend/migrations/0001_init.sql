-- First schema: jobs, cursors, executions (hot and history), ledger, receipts, gates.
--
-- {schema} is replaced by the quoted schema name. Instants are timestamptz: whole microseconds, readable in psql,
-- and the same number on every engine. Text that is ever ordered is COLLATE "C": byte order, as in Rust. JSON columns
-- are json, not jsonb: the canonical text comes back byte for byte. Counters that are u32 in Rust are bigint, so
-- that "no limit" (the largest u32) fits.

-- Microseconds since 1970, exact: extract() is numeric from Postgres 14 on. Plain SQL, so the planner inlines it.
create function {schema}.micros(instant timestamptz) returns bigint
    language sql stable parallel safe
    as $$ select (extract(epoch from instant) * 1000000)::bigint $$;

create table {schema}.job (
    name text collate "C" primary key,
    spec_hash text not null,
    schedule_hash text not null,
    edited_at timestamptz,
    -- For operators: which incarnation registered this spec, and when.
    registered_by uuid not null,
    registered_at timestamptz not null
);

create table {schema}.cursor (
    job text collate "C" not null,
    scope_kind text collate "C" not null,
    scope_id text collate "C" not null,
    at timestamptz not null,
    high_water timestamptz not null,
    newest_slot timestamptz,
    -- Of the schedule that the scope has to itself, if it has one, and when that came, changed or went.
    schedule_hash text,
    edited_at timestamptz,
    primary key (job, scope_kind, scope_id)
);

-- Executions that are not terminal. Small by design: finished rows leave for history. What a claim changes stands together,
-- and pages are filled by less than half: the new version of each row, which is longer, then fits the page of the old one, and
-- only what lies between the first and the last byte that differ is logged. Among the stable columns those of fixed width that are never null come
-- first: behind a null or a text, each look at a column measures all before it, and the others gape to keep eights aligned.
create table {schema}.execution (
    id uuid primary key,
    generation bigint not null,
    due_at timestamptz not null,
    created_at timestamptz not null,
    max_attempts bigint not null,
    lease_ms bigint not null,
    -- From here to the state: what a claim changes.
    updated_at timestamptz not null,
    attempt bigint not null,
    fence bigint not null,
    -- From when on claims look at the row, its place in their order; null when none may take it. Of a running row it may lie before
    -- the end of the lease, which is when one may take it then: a claim that leaves it alone enters no index anew.
    claimable_at timestamptz,
    -- The last claim; all null until the first.
    claimed_at timestamptz,
    started_at timestamptz,
    heartbeat_at timestamptz,
    lease_expires_at timestamptz,
    -- The same of a row that no claim may take. A column, because lease_expires_at changes with every claim, and what an index holds
    -- must not; and not a generated one, which costs a copy of the whole row.
    rescue_at timestamptz,
    token uuid,
    runner uuid,
    state text not null,
    priority smallint not null,
    job text collate "C" not null,
    scope_kind text collate "C" not null,
    scope_id text collate "C" not null,
    reentry text not null check (reentry in ('allow', 'forbid')),
    supersede text not null check (supersede in ('never', 'by_newer_slot')),
    audit text not null default 'off' check (audit in ('off', 'exceptions', 'all')),
    slot_at timestamptz,
    expires_at timestamptz,
    cancel_requested_at timestamptz,
    finished_at timestamptz,
    duration_ms bigint check (duration_ms >= 0),
    rows_affected bigint,
    limit_max bigint,
    limit_key text collate "C",
    unique_key text collate "C",
    payload json,
    result json,
    error_code text,
    error_text text,
    skip_reason text
) with (fillfactor = 45, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 200);

-- Terminal executions; never updated (G2). Same columns, so that one listing reads both.
create table {schema}.history (
    like {schema}.execution including defaults including constraints,
    primary key (id, generation)
);

alter table {schema}.execution add constraint execution_is_live
    check (state in ('scheduled', 'running', 'retryable')),
    add constraint execution_is_found
    check (rescue_at is not distinct from case when claimable_at is null then lease_expires_at end);
alter table {schema}.history add constraint history_is_terminal
    check (state in ('succeeded', 'dead', 'cancelled', 'skipped') and claimable_at is null and finished_at is not null);

-- The claim's order exactly, for each lane: a queue's items have one to themselves, so that no queue's backlog is in the way of
-- another, and rows of schedules share one (''), so that a claim for many jobs reads one. One range per priority: the claim walks
-- the distinct priorities and reads only due rows. Rows that no claim may take stand behind them: items of a queue are counted here.
create index execution_claim on {schema}.execution ({lane}, priority, claimable_at, id);
-- The rescue's order exactly: only rows that no claim will ever take.
create index execution_rescue on {schema}.execution (rescue_at, id) where rescue_at is not null;
-- "Does this slot exist?" after the database clock stepped back. Not unique: slot uniqueness rests on the cursor.
create index execution_slot on {schema}.execution (job, scope_kind, scope_id, slot_at) where slot_at is not null;
create index history_slot on {schema}.history (job, scope_kind, scope_id, slot_at) where slot_at is not null;
-- G11: at most one live execution per key. An item that ends leaves this table, and with it the index.
create unique index execution_unique on {schema}.execution (unique_key) where unique_key is not null;
-- Unique keys that finished items count for, newest last.
create index history_unique on {schema}.history (unique_key, finished_at, id) where unique_key is not null;
-- Pruning order. All that one settlement ends has one instant: such rows share an entry, and are sorted when they are read.
create index history_finished on {schema}.history (finished_at);

-- The missed-slot ledger. seq only breaks ties of the listing; it is in no reply.
create table {schema}.skipped (
    seq bigint generated always as identity primary key,
    job text collate "C" not null,
    scope_kind text collate "C" not null,
    scope_id text collate "C" not null,
    after timestamptz not null,
    through timestamptz not null,
    count bigint,
    reason text collate "C" not null,
    recorded_at timestamptz not null
);
create index skipped_listing on {schema}.skipped (job, scope_kind, scope_id, after, through, reason, recorded_at, seq);
create index skipped_recorded on {schema}.skipped (recorded_at, seq);

-- First replies, kept for the idempotency window.
create table {schema}.receipt (
    request uuid constraint receipt_pkey primary key,
    received_at timestamptz not null,
    -- Of a claim: what it ended unstarted, or null.
    reply json,
    -- Of a claim: what it took, in its order. The rows themselves are there to be read again.
    taken uuid[]
);
-- Random: not worth an attempt to compress it.
alter table {schema}.receipt alter column taken set storage external;
create index receipt_received on {schema}.receipt (received_at, request);

-- G15: how many rows with this limit key are running. Locked by whoever changes it, hence never write skew.
create table {schema}.limit_gate (
    key text collate "C" primary key,
    running bigint not null default 0 check (running >= 0)
) with (fillfactor = 50);

-- Single values. 'rescue': when the last rescue ran. 'requeue': locked by requeues, so that they take turns.
create table {schema}.meta (
    name text primary key,
    at timestamptz
);
insert into {schema}.meta (name) values ('rescue'), ('requeue');

-- Statistics for a table that is analysed for the first time only minutes after its first burst: one usual priority,
-- rows claimable over time. Without them an equality counts as a two-hundredth, and the claim sorts its whole backlog.
-- An analysis of an empty table keeps them, and the first real one replaces them. Making an index does not keep them
-- (it counts the rows, of which there are none): until there is a release, indexes on this table belong above.
insert into {schema}.execution (id, generation, job, scope_kind, scope_id, due_at, priority, max_attempts, lease_ms,
    reentry, supersede, state, claimable_at, attempt, fence, created_at, updated_at)
select md5(n::text)::uuid, 1, 'job ' || n % 10, 'global', 'global', now(), 0, 1, 1, 'allow', 'never', 'scheduled',
    now() + (n - 150) * interval '1 hour', 0, 0, now(), now()
from generate_series(1, 300) n;
analyze {schema}.execution;
delete from {schema}.execution;
