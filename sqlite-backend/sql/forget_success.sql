-- Purpose:    removes a live row whose attempt succeeded under this lease, if that leaves nothing of it.
-- Parameters: ?1 id, ?2 token, ?3 fence.
-- Index:      the primary key of execution.
-- Why:        as transition::success_leaves_nothing has it. Most attempts succeed; to read such a row first, and find that, costs as
--             much again.
delete from execution
where id = ?1 and token = ?2 and fence = ?3 and state = 'running' and started_at is not null and audit <> 'all'
    and generation = 1 and slot_at is null
