-- Purpose:    keeps the latest registration of a job.
-- Parameters: ?1 name, ?2 spec hash, ?3 schedule hash, ?4 edited at (microseconds since 1970 or null), ?5 rules (JSON or null).
-- Index:      the primary key of job.
insert into job (name, spec_hash, schedule_hash, edited_at, rules) values (?1, ?2, ?3, ?4, ?5)
on conflict (name) do update
set spec_hash = excluded.spec_hash, schedule_hash = excluded.schedule_hash, edited_at = excluded.edited_at,
    rules = excluded.rules
