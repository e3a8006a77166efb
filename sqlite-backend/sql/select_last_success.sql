-- Purpose:    the newest success of one scope: by slot, then by finish.
-- Parameters: ?1 job; ?2 and ?3 scope kind and id.
-- Index:      history_success, from its end.
select slot_at, finished_at from history indexed by history_success
where job = ?1 and scope_kind = ?2 and scope_id = ?3 and slot_at is not null and state = 'succeeded'
order by slot_at desc, finished_at desc
limit 1
