-- Purpose:    deletes finished executions, oldest first.
-- Parameters: ?1 finished before (microseconds since 1970); ?2 at most how many.
-- Index:      history_finished for range and order.
-- Why:        bounded, so that a long history is removed in many short transactions.
delete from history where rowid in (
    select rowid from history indexed by history_finished
    where finished_at < ?1
    order by finished_at, id, generation
    limit ?2
)
