-- The first schema. Ids are 16 bytes, which compare like the UUIDs they are; instants are microseconds since 1970 in
-- UTC; durations are milliseconds; JSON is canonical text. Text compares by bytes (collation BINARY, the default).
-- Checks of the hot tables say "a = .. or a = .." because "in" with three values or more builds a temporary index for
-- every row that is written.

-- What a scheduler knows of its jobs: the latest registration of each.
create table job (
    name          text not null primary key,
    spec_hash     text not null,
    schedule_hash text not null,
    edited_at     integer
) strict, without rowid;

-- How far each (job, scope) is planned.
create table cursor (
    job        text    not null references job (name),
    scope_kind text    not null,
    scope_id   text    not null,
    at         integer not null,
    high_water integer not null,
    newest_slot integer,
    -- Of the schedule that the scope has to itself, if it has one, and when that came, changed or went.
    schedule_hash text,
    edited_at  integer,
    primary key (job, scope_kind, scope_id)
) strict, without rowid;

-- Live executions: small and hot. The columns from token to lease_expires_at are the last claim.
create table execution (
    id                  blob    not null primary key check (length(id) = 16),
    generation          integer not null,
    job                 text    not null,
    scope_kind          text    not null,
    scope_id            text    not null,
    slot_at             integer,
    due_at              integer not null,
    expires_at          integer,
    priority            integer not null,
    payload             text,
    unique_key          text,
    max_attempts        integer not null,
    lease_ms            integer not null,
    reentry             text    not null check (reentry in ('allow', 'forbid')),
    supersede           text    not null check (supersede in ('never', 'by_newer_slot')),
    limit_key           text,
    limit_max           integer,
    audit               text    not null check (audit = 'off' or audit = 'exceptions' or audit = 'all'),
    created_at          integer not null,
    state               text    not null check (state = 'scheduled' or state = 'running' or state = 'retryable'),
    claimable_at        integer,
    attempt             integer not null,
    fence               integer not null,
    token               blob,
    runner              blob,
    claimed_at          integer,
    started_at          integer,
    heartbeat_at        integer,
    lease_expires_at    integer,
    cancel_requested_at integer,
    finished_at         integer,
    duration_ms         integer check (duration_ms >= 0),
    rows_affected       integer,
    result              text,
    error_code          text,
    error_text          text,
    skip_reason         text,
    updated_at          integer not null
) strict;

-- The order of a claim, for each lane: a queue's items have one to themselves, so that no queue's backlog is in the way of another,
-- and rows of schedules share one (''). Rows that no claim may take are in it too: items of a queue are counted here.
create index execution_claim on execution (case when slot_at is null then job else '' end, priority, claimable_at, id);
-- What runs under a limit key (G15).
create index execution_limit on execution (limit_key) where limit_key is not null and state = 'running';
-- What only a rescue can end.
create index execution_rescue on execution (lease_expires_at, id) where state = 'running' and claimable_at is null;
-- Whether a slot was made already (G6); the same exists on history. The slot comes first, so that new entries go to
-- the end of the index whatever their job.
create index execution_slot on execution (slot_at, job, scope_kind, scope_id) where slot_at is not null;

-- Finished executions, one row per generation; never updated (G2).
create table history (
    id                  blob    not null check (length(id) = 16),
    generation          integer not null,
    job                 text    not null,
    scope_kind          text    not null,
    scope_id            text    not null,
    slot_at             integer,
    due_at              integer not null,
    expires_at          integer,
    priority            integer not null,
    payload             text,
    unique_key          text,
    max_attempts        integer not null,
    lease_ms            integer not null,
    reentry             text    not null check (reentry in ('allow', 'forbid')),
    supersede           text    not null check (supersede in ('never', 'by_newer_slot')),
    limit_key           text,
    limit_max           integer,
    audit               text    not null check (audit = 'off' or audit = 'exceptions' or audit = 'all'),
    created_at          integer not null,
    state               text    not null check (state = 'succeeded' or state = 'dead' or state = 'cancelled' or state = 'skipped'),
    claimable_at        integer check (claimable_at is null),
    attempt             integer not null,
    fence               integer not null,
    token               blob,
    runner              blob,
    claimed_at          integer,
    started_at          integer,
    heartbeat_at        integer,
    lease_expires_at    integer,
    cancel_requested_at integer,
    finished_at         integer not null,
    duration_ms         integer check (duration_ms >= 0),
    rows_affected       integer,
    result              text,
    error_code          text,
    error_text          text,
    skip_reason         text check (
        skip_reason = 'superseded' or skip_reason = 'late' or skip_reason = 'outside_window'
        or skip_reason = 'schedule_changed' or skip_reason = 'expired' or skip_reason = 'gap' or skip_reason = 'paused'
    ),
    updated_at          integer not null,
    primary key (id, generation)
) strict;

create index history_slot on history (slot_at, job, scope_kind, scope_id) where slot_at is not null;
create index history_finished on history (finished_at, id, generation);

-- The missed-slot ledger: slots in (after_at, through_at] that were not made.
create table skipped (
    number      integer primary key,
    job         text    not null,
    scope_kind  text    not null,
    scope_id    text    not null,
    after_at    integer not null,
    through_at  integer not null,
    slot_count  integer,
    reason      text    not null check (
        reason in ('superseded', 'late', 'outside_window', 'schedule_changed', 'expired', 'gap', 'paused')
    ),
    recorded_at integer not null
) strict;

create index skipped_order on skipped (job, scope_kind, scope_id, after_at, through_at);
create index skipped_recorded on skipped (recorded_at);

-- First replies, kept for the idempotency window.
create table receipt (
    request_id  blob    not null primary key check (length(request_id) = 16),
    recorded_at integer not null,
    reply       text    not null
) strict;

create index receipt_recorded on receipt (recorded_at, request_id);

-- One row of facts about the whole database.
create table meta (
    id             integer not null primary key check (id = 1),
    last_rescue_at integer not null
) strict;

-- For operators: ids and instants that can be read. Instants outside the years 0000 to 9999 show as microseconds.
create view execution_view as
select
    substr(lower(hex(id)), 1, 8) || '-' || substr(lower(hex(id)), 9, 4) || '-' || substr(lower(hex(id)), 13, 4) || '-' || substr(lower(hex(id)), 17, 4) || '-'
        || substr(lower(hex(id)), 21) as id,
    generation,
    job,
    scope_kind,
    scope_id,
    coalesce(strftime('%Y-%m-%dT%H:%M:%S', slot_at / 1000000, 'unixepoch') || printf('.%06dZ', slot_at % 1000000),
        slot_at || 'us') as slot_at,
    coalesce(strftime('%Y-%m-%dT%H:%M:%S', due_at / 1000000, 'unixepoch') || printf('.%06dZ', due_at % 1000000),
        due_at || 'us') as due_at,
    coalesce(strftime('%Y-%m-%dT%H:%M:%S', expires_at / 1000000, 'unixepoch') || printf('.%06dZ', expires_at % 1000000),
        expires_at || 'us') as expires_at,
    priority,
    payload,
    unique_key,
    max_attempts,
    lease_ms,
    reentry,
    supersede,
    limit_key,
    limit_max,
    audit,
    coalesce(strftime('%Y-%m-%dT%H:%M:%S', created_at / 1000000, 'unixepoch') || printf('.%06dZ', created_at % 1000000),
        created_at || 'us') as created_at,
    state,
    coalesce(strftime('%Y-%m-%dT%H:%M:%S', claimable_at / 1000000, 'unixepoch') || printf('.%06dZ', claimable_at % 1000000),
        claimable_at || 'us') as claimable_at,
    attempt,
    fence,
    case when token is not null then
        substr(lower(hex(token)), 1, 8) || '-' || substr(lower(hex(token)), 9, 4) || '-' || substr(lower(hex(token)), 13, 4) || '-' || substr(lower(hex(token)), 17, 4) || '-'
        || substr(lower(hex(token)), 21)
    end as token,
    case when runner is not null then
        substr(lower(hex(runner)), 1, 8) || '-' || substr(lower(hex(runner)), 9, 4) || '-' || substr(lower(hex(runner)), 13, 4) || '-' || substr(lower(hex(runner)), 17, 4) || '-'
        || substr(lower(hex(runner)), 21)
    end as runner,
    coalesce(strftime('%Y-%m-%dT%H:%M:%S', claimed_at / 1000000, 'unixepoch') || printf('.%06dZ', claimed_at % 1000000),
        claimed_at || 'us') as claimed_at,
    coalesce(strftime('%Y-%m-%dT%H:%M:%S', started_at / 1000000, 'unixepoch') || printf('.%06dZ', started_at % 1000000),
        started_at || 'us') as started_at,
    coalesce(strftime('%Y-%m-%dT%H:%M:%S', heartbeat_at / 1000000, 'unixepoch') || printf('.%06dZ', heartbeat_at % 1000000),
        heartbeat_at || 'us') as heartbeat_at,
    coalesce(strftime('%Y-%m-%dT%H:%M:%S', lease_expires_at / 1000000, 'unixepoch') || printf('.%06dZ', lease_expires_at % 1000000),
        lease_expires_at || 'us') as lease_expires_at,
    coalesce(strftime('%Y-%m-%dT%H:%M:%S', cancel_requested_at / 1000000, 'unixepoch') || printf('.%06dZ', cancel_requested_at % 1000000),
        cancel_requested_at || 'us') as cancel_requested_at,
    coalesce(strftime('%Y-%m-%dT%H:%M:%S', finished_at / 1000000, 'unixepoch') || printf('.%06dZ', finished_at % 1000000),
        finished_at || 'us') as finished_at,
    duration_ms,
    rows_affected,
    result,
    error_code,
    error_text,
    skip_reason,
    coalesce(strftime('%Y-%m-%dT%H:%M:%S', updated_at / 1000000, 'unixepoch') || printf('.%06dZ', updated_at % 1000000),
        updated_at || 'us') as updated_at
from execution;

create view history_view as
select
    substr(lower(hex(id)), 1, 8) || '-' || substr(lower(hex(id)), 9, 4) || '-' || substr(lower(hex(id)), 13, 4) || '-' || substr(lower(hex(id)), 17, 4) || '-'
        || substr(lower(hex(id)), 21) as id,
    generation,
    job,
    scope_kind,
    scope_id,
    coalesce(strftime('%Y-%m-%dT%H:%M:%S', slot_at / 1000000, 'unixepoch') || printf('.%06dZ', slot_at % 1000000),
        slot_at || 'us') as slot_at,
    coalesce(strftime('%Y-%m-%dT%H:%M:%S', due_at / 1000000, 'unixepoch') || printf('.%06dZ', due_at % 1000000),
        due_at || 'us') as due_at,
    coalesce(strftime('%Y-%m-%dT%H:%M:%S', expires_at / 1000000, 'unixepoch') || printf('.%06dZ', expires_at % 1000000),
        expires_at || 'us') as expires_at,
    priority,
    payload,
    unique_key,
    max_attempts,
    lease_ms,
    reentry,
    supersede,
    limit_key,
    limit_max,
    audit,
    coalesce(strftime('%Y-%m-%dT%H:%M:%S', created_at / 1000000, 'unixepoch') || printf('.%06dZ', created_at % 1000000),
        created_at || 'us') as created_at,
    state,
    coalesce(strftime('%Y-%m-%dT%H:%M:%S', claimable_at / 1000000, 'unixepoch') || printf('.%06dZ', claimable_at % 1000000),
        claimable_at || 'us') as claimable_at,
    attempt,
    fence,
    case when token is not null then
        substr(lower(hex(token)), 1, 8) || '-' || substr(lower(hex(token)), 9, 4) || '-' || substr(lower(hex(token)), 13, 4) || '-' || substr(lower(hex(token)), 17, 4) || '-'
        || substr(lower(hex(token)), 21)
    end as token,
    case when runner is not null then
        substr(lower(hex(runner)), 1, 8) || '-' || substr(lower(hex(runner)), 9, 4) || '-' || substr(lower(hex(runner)), 13, 4) || '-' || substr(lower(hex(runner)), 17, 4) || '-'
        || substr(lower(hex(runner)), 21)
    end as runner,
    coalesce(strftime('%Y-%m-%dT%H:%M:%S', claimed_at / 1000000, 'unixepoch') || printf('.%06dZ', claimed_at % 1000000),
        claimed_at || 'us') as claimed_at,
    coalesce(strftime('%Y-%m-%dT%H:%M:%S', started_at / 1000000, 'unixepoch') || printf('.%06dZ', started_at % 1000000),
        started_at || 'us') as started_at,
    coalesce(strftime('%Y-%m-%dT%H:%M:%S', heartbeat_at / 1000000, 'unixepoch') || printf('.%06dZ', heartbeat_at % 1000000),
        heartbeat_at || 'us') as heartbeat_at,
    coalesce(strftime('%Y-%m-%dT%H:%M:%S', lease_expires_at / 1000000, 'unixepoch') || printf('.%06dZ', lease_expires_at % 1000000),
        lease_expires_at || 'us') as lease_expires_at,
    coalesce(strftime('%Y-%m-%dT%H:%M:%S', cancel_requested_at / 1000000, 'unixepoch') || printf('.%06dZ', cancel_requested_at % 1000000),
        cancel_requested_at || 'us') as cancel_requested_at,
    coalesce(strftime('%Y-%m-%dT%H:%M:%S', finished_at / 1000000, 'unixepoch') || printf('.%06dZ', finished_at % 1000000),
        finished_at || 'us') as finished_at,
    duration_ms,
    rows_affected,
    result,
    error_code,
    error_text,
    skip_reason,
    coalesce(strftime('%Y-%m-%dT%H:%M:%S', updated_at / 1000000, 'unixepoch') || printf('.%06dZ', updated_at % 1000000),
        updated_at || 'us') as updated_at
from history;
