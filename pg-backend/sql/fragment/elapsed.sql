case when $row.started_at is not null
        then greatest(0, floor(extract(epoch from c.now - $row.started_at) * 1000))::bigint end
