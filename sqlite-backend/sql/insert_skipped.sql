-- Purpose:    adds to the missed-slot ledger.
-- Parameters: ?1 job, ?2 scope kind, ?3 scope id, ?4 after (exclusive), ?5 through (inclusive), ?6 how many or null,
--             ?7 reason, ?8 recorded at; instants in microseconds since 1970.
insert into skipped (job, scope_kind, scope_id, after_at, through_at, slot_count, reason, recorded_at)
values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
