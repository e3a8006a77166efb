case $6::text
            when 'all' then true
            when 'harmless' then $row.attempt = 0 and $row.max_attempts > 1 and $row.reentry = 'allow'
                and $row.limit_key is null and $row.expires_at is null
            else false
        end
