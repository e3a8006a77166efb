-- Purpose:    the pauses of one job that are in force, that of the whole job first.
-- Parameters: ?1 job.
-- Index:      pause_in_force, which is also the order.
select id, job, scope_kind, scope_id, paused_at, paused_by, resumed_at, resumed_by
from pause indexed by pause_in_force
where job = ?1 and resumed_at is null
order by scope_kind, scope_id
