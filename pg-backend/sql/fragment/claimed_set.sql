state = 'running',
        fence = $row.fence + 1,
        token = $2::uuid,
        runner = $5::uuid,
        claimed_at = d.now,
        started_at = case when d.is_charged then d.now end,
        heartbeat_at = d.now,
        lease_expires_at = d.now + $row.lease_ms * interval '1 millisecond',
        attempt = $row.attempt + d.is_charged::int,
        claimable_at = case
            when $row.cancel_requested_at is not null then null
            when d.is_charged and ($row.reentry = 'forbid' or $row.attempt + 1 >= $row.max_attempts) then null
            else coalesce(d.keeps_at, d.now + $row.lease_ms * interval '1 millisecond' + interval '1 microsecond')
        end,
        rescue_at = case
            when $row.cancel_requested_at is not null
                or (d.is_charged and ($row.reentry = 'forbid' or $row.attempt + 1 >= $row.max_attempts))
            then d.now + $row.lease_ms * interval '1 millisecond'
        end,
        finished_at = null, duration_ms = null, rows_affected = null, error_code = null, error_text = null,
        progress = null,
        updated_at = d.now
