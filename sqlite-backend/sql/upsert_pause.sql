-- Purpose:    keeps a pause, or who lifted it and when.
-- Parameters: ?1 id; ?2 job; ?3 and ?4 scope kind and id, empty for all; ?5 paused at; ?6 by; ?7 resumed at or null; ?8 by.
-- Index:      the primary key of pause; pause_in_force refuses a second one of the same scope.
insert into pause (id, job, scope_kind, scope_id, paused_at, paused_by, resumed_at, resumed_by)
values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
on conflict (id) do update
set job = excluded.job, scope_kind = excluded.scope_kind, scope_id = excluded.scope_id, paused_at = excluded.paused_at,
    paused_by = excluded.paused_by, resumed_at = excluded.resumed_at, resumed_by = excluded.resumed_by
