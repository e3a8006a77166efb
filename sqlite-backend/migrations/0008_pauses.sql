-- Pauses of jobs and of single scopes, lifted ones included: who stopped what, and for how long. Empty strings in place
-- of a scope: all scopes of the job.
create table pause (
    id         blob    not null primary key check (length(id) = 16),
    job        text    not null,
    scope_kind text    not null,
    scope_id   text    not null,
    paused_at  integer not null,
    paused_by  text    not null,
    resumed_at integer,
    resumed_by text
) strict, without rowid;

-- The rules of a job as it was registered, for operators: JSON.
alter table job add column rules text;

-- What a claim and a planner ask: nearly always empty.
create unique index pause_in_force on pause (job, scope_kind, scope_id) where resumed_at is null;
