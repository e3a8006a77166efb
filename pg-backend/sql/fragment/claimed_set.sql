state = 'running',
        fence = d.fence + 1,
        token = $2::uuid,
        runner = $5::uuid,
        claimed_at = c.now,
        started_at = case when d.is_charged then c.now end,
        heartbeat_at = c.now,
        lease_expires_at = c.now + d.lease_ms * interval '1 millisecond',
        attempt = d.attempt + d.is_charged::int,
        claimable_at = case
            when d.cancel_requested_at is not null then null
            when d.is_charged and (d.reentry = 'forbid' or d.attempt + 1 >= d.max_attempts) then null
            else c.now + d.lease_ms * interval '1 millisecond' + interval '1 microsecond'
        end,
        finished_at = null, duration_ms = null, rows_affected = null, error_code = null, error_text = null,
        progress = null,
        updated_at = c.now
