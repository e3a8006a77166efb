-- Purpose:    a page of registered jobs, in order of their names.
-- Parameters: ?1 the name that the page begins after; every name is greater than '', ?2 most rows.
-- Index:      the primary key of job.
select name, spec_hash, schedule_hash, edited_at, rules from job where name > ?1 order by name limit ?2
