-- Purpose:    the record of one job.
-- Parameters: ?1 name.
-- Index:      the primary key of job.
select spec_hash, schedule_hash, edited_at, rules from job where name = ?1
