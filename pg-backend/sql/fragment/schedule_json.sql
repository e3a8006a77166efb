json_build_object(
    'job', $row.job, 'scope', json_build_object('kind', $row.scope_kind, 'id', $row.scope_id),
    'revision', $row.revision,
    'schedule', case when $row.schedule is not null
        then json_build_object('json', $row.schedule::text, 'hash', $row.schedule_hash) end,
    'note', $row.note, 'edited_at', {schema}.micros($row.edited_at), 'edited_by', $row.edited_by,
    'replaced_at', {schema}.micros($row.replaced_at))
