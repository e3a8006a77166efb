json_build_object(
    'id', $row.id, 'job', $row.job,
    'scope', case when $row.scope_kind <> '' then json_build_object('kind', $row.scope_kind, 'id', $row.scope_id) end,
    'paused_at', {schema}.micros($row.paused_at), 'paused_by', $row.paused_by,
    'resumed_at', {schema}.micros($row.resumed_at), 'resumed_by', $row.resumed_by)
