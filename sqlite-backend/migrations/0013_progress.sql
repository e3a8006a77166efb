-- How far an execution's last attempt said it was: note, thousandths, and microseconds since 1970 of the heartbeat that brought it.
alter table execution add column progress text;
alter table history add column progress text;
alter table unreadable add column progress;

-- The views as they were, with these columns and those of the traces.
drop view execution_view;
drop view history_view;

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
        updated_at || 'us') as updated_at,
    trace,
    progress
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
        updated_at || 'us') as updated_at,
    trace,
    progress
from history;
