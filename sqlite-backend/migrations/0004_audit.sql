-- The audit log: one row per transition of an execution whose policy wants it told, written in the transaction of the
-- transition (G9). Not bound to execution or history by a key: an event outlives the pruning of what it tells.
create table audit (
    execution  blob    not null check (length(execution) = 16),
    generation integer not null,
    fence      integer not null,
    step       integer not null,
    at         integer not null,
    job        text    not null,
    scope_kind text    not null,
    scope_id   text    not null,
    actor_type text    not null check (actor_type = 'system' or actor_type = 'runner' or actor_type = 'operator'),
    actor      text    not null,
    action     text    not null,
    details    text    not null,
    -- Along the life of an execution; refuses a second event of one transition.
    primary key (execution, generation, fence, step)
) strict;

-- Pruning order.
create index audit_at on audit (at, execution, generation, fence, step);
