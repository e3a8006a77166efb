case when $row.state = 'running' and $row.claimable_at is not null
        then $row.lease_expires_at + interval '1 microsecond' else $row.claimable_at end
