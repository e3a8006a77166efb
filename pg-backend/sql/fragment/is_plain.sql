$row.slot_at is null and $row.limit_key is null and $row.expires_at is null and $row.supersede = 'never' and $row.audit <> 'all'
            and $row.state <> 'running'
