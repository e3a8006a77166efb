-- Purpose:    keeps a revision of a stored schedule, or when the next one came.
-- Parameters: ?1 job; ?2 scope kind; ?3 scope id; ?4 revision; ?5 schedule (JSON) and ?6 its hash, or nulls; ?7 note or
--             null; ?8 edited at; ?9 by; ?10 replaced at or null.
-- Index:      the primary key of schedule; schedule_newest refuses a second one without the next.
insert into schedule (job, scope_kind, scope_id, revision, schedule, schedule_hash, note, edited_at, edited_by, replaced_at)
values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
on conflict (job, scope_kind, scope_id, revision) do update
set schedule = excluded.schedule, schedule_hash = excluded.schedule_hash, note = excluded.note,
    edited_at = excluded.edited_at, edited_by = excluded.edited_by, replaced_at = excluded.replaced_at
