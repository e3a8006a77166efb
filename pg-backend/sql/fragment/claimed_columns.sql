$row.id, $row.generation, $row.job, $row.scope_kind, $row.scope_id, $row.slot_at, $row.due_at, $row.expires_at,
$row.priority, $row.payload, $row.unique_key, $row.max_attempts, $row.lease_ms, $row.reentry, $row.supersede,
$row.limit_key, $row.limit_max, $row.audit, {claimable_from:$row}, $row.attempt, $row.fence, $row.runner, $row.claimed_at,
$row.started_at, $row.heartbeat_at, $row.lease_expires_at, $row.cancel_requested_at, $row.created_at, $row.updated_at,
$row.trace, $row.progress
