-- The newest success of each scope: what tells operators whether a schedule is kept. Slots alone: a queue pays nothing.
create index history_success on {schema}.history (job, scope_kind, scope_id, slot_at, finished_at)
    where slot_at is not null and state = 'succeeded';
