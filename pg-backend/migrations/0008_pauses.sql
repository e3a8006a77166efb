-- Pauses of jobs and of single scopes, lifted ones included: who stopped what, and for how long. Empty strings in place
-- of a scope: all scopes of the job.
create table {schema}.pause (
    id uuid primary key,
    job text collate "C" not null,
    scope_kind text collate "C" not null,
    scope_id text collate "C" not null,
    paused_at timestamptz not null,
    paused_by text not null,
    resumed_at timestamptz,
    resumed_by text
);

-- What a claim asks: nearly always empty.
create unique index pause_in_force on {schema}.pause (job, scope_kind, scope_id) where resumed_at is null;

-- The same, on the rows that a planner locks: a planner that waited for a pause sees these as they are, and the table
-- above as it was before.
alter table {schema}.job add column paused boolean not null default false;
alter table {schema}.cursor add column paused boolean not null default false;

-- The rules of a job as it was registered, for operators.
alter table {schema}.job add column rules json;

-- As in 0005_items.sql, and triggers.
create or replace function {schema}.tells(audit text, action text) returns boolean
    language sql immutable parallel safe
    as $$ select audit = 'all' or (audit = 'exceptions' and action in ('job_requeue', 'job_reclaim',
        'job_cancel_request', 'job_retry', 'job_dead', 'job_cancel', 'job_rescue', 'job_delete', 'job_trigger')) $$;
