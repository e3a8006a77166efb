-- Schedules that the database keeps, every edit of them: who changed what, and when. The newest revision of a scope is
-- the one without `replaced_at`; one without a schedule is a removal.
create table {schema}.schedule (
    job text collate "C" not null,
    scope_kind text collate "C" not null,
    scope_id text collate "C" not null,
    revision bigint not null check (revision > 0),
    schedule json,
    schedule_hash text,
    note text,
    edited_at timestamptz not null,
    edited_by text not null,
    replaced_at timestamptz,
    primary key (job, scope_kind, scope_id, revision),
    check ((schedule is null) = (schedule_hash is null))
);

-- What a planner asks, and what keeps a scope from having two.
create unique index schedule_newest on {schema}.schedule (job, scope_kind, scope_id) where replaced_at is null;
