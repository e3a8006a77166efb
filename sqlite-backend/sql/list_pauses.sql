-- Purpose:    a page of pauses, newest first.
-- Parameters: ?1 job or null; ?2 whether lifted ones count; ?3 how many to pass over; ?4 how many.
-- Index:      none: people make pauses, so they are few.
select id, job, scope_kind, scope_id, paused_at, paused_by, resumed_at, resumed_by from pause
where (?1 is null or job = ?1) and (?2 or resumed_at is null)
order by paused_at desc, id desc
limit ?4 offset ?3
