-- The audit log: one row per transition of an execution whose policy wants it told, written by the statement that makes
-- the transition (G9). Not bound to execution or history by a key: an event outlives the pruning of what it tells.
create table {schema}.audit (
    execution uuid not null,
    generation bigint not null,
    fence bigint not null,
    step smallint not null,
    at timestamptz not null,
    job text collate "C" not null,
    scope_kind text collate "C" not null,
    scope_id text collate "C" not null,
    actor_type text not null check (actor_type in ('system', 'runner', 'operator')),
    actor text not null,
    action text not null,
    details json not null,
    -- Along the life of an execution; refuses a second event of one transition.
    primary key (execution, generation, fence, step)
);

-- Pruning order.
create index audit_at on {schema}.audit (at, execution, generation, fence, step);

-- Whether a row with this setting wants this action told: `Audit::wants`. Plain SQL, so the planner inlines it.
create function {schema}.tells(audit text, action text) returns boolean
    language sql immutable parallel safe
    as $$ select audit = 'all' or (audit = 'exceptions' and action in ('job_requeue', 'job_reclaim',
        'job_cancel_request', 'job_retry', 'job_dead', 'job_cancel', 'job_rescue')) $$;
