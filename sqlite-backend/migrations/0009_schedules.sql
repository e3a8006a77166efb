-- Schedules that the database keeps, every edit of them: who changed what, and when. The newest revision of a scope is
-- the one without `replaced_at`; one without a schedule is a removal.
create table schedule (
    job           text    not null,
    scope_kind    text    not null,
    scope_id      text    not null,
    revision      integer not null check (revision > 0),
    schedule      text,
    schedule_hash text,
    note          text,
    edited_at     integer not null,
    edited_by     text    not null,
    replaced_at   integer,
    primary key (job, scope_kind, scope_id, revision),
    check ((schedule is null) = (schedule_hash is null))
) strict, without rowid;

-- What a planner asks, and what keeps a scope from having two.
create unique index schedule_newest on schedule (job, scope_kind, scope_id) where replaced_at is null;
