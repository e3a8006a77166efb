-- Purpose:    whether a slot was made already, live or finished (G6).
-- Parameters: ?1 job, ?2 scope kind, ?3 scope id, ?4 slot (microseconds since 1970).
-- Index:      execution_slot and history_slot.
select
    exists (
        select 1 from execution indexed by execution_slot
        where job = ?1 and scope_kind = ?2 and scope_id = ?3 and slot_at = ?4
    )
    or exists (
        select 1 from history indexed by history_slot
        where job = ?1 and scope_kind = ?2 and scope_id = ?3 and slot_at = ?4
    )
