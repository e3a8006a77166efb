-- Purpose:    how many live items a queue holds.
-- Parameters: ?1 job.
-- Index:      execution_claim: the entries of the queue's lane.
select count(*) from execution indexed by execution_claim where case when slot_at is null then job else '' end = ?1
