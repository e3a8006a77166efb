json_build_object(
    'id', $row.id, 'generation', $row.generation, 'job', $row.job,
    'scope', json_build_object('kind', $row.scope_kind, 'id', $row.scope_id),
    'slot_at', {schema}.micros($row.slot_at), 'due_at', {schema}.micros($row.due_at),
    'expires_at', {schema}.micros($row.expires_at), 'priority', $row.priority,
    'payload', $row.payload::text, 'unique_key', $row.unique_key,
    'policy', json_build_object(
        'max_attempts', $row.max_attempts, 'lease_ms', $row.lease_ms,
        'reentry', $row.reentry, 'supersede', $row.supersede,
        'limit', case when $row.limit_key is not null
            then json_build_object('key', $row.limit_key, 'max', $row.limit_max) end,
        'audit', $row.audit),
    'state', $row.state, 'claimable_at', {schema}.micros({claimable_from:$row}),
    'attempt', $row.attempt, 'fence', $row.fence,
    'lease', case when $row.token is not null then json_build_object(
        'token', $row.token, 'runner', $row.runner, 'claimed_at', {schema}.micros($row.claimed_at),
        'started_at', {schema}.micros($row.started_at), 'heartbeat_at', {schema}.micros($row.heartbeat_at),
        'expires_at', {schema}.micros($row.lease_expires_at)) end,
    'cancel_requested_at', {schema}.micros($row.cancel_requested_at),
    'finished_at', {schema}.micros($row.finished_at), 'duration_ms', $row.duration_ms,
    'rows_affected', $row.rows_affected, 'result', $row.result::text,
    'error', case when $row.error_code is not null
        then json_build_object('code', $row.error_code, 'text', $row.error_text) end,
    'skip_reason', $row.skip_reason,
    'created_at', {schema}.micros($row.created_at), 'updated_at', {schema}.micros($row.updated_at),
    'trace', $row.trace, 'progress', $row.progress)
