(select json_build_object('turn_us', g.turn_us, 'burst', g.burst,
        'shut', (select count(*) from {schema}.limit_gate s where s.queue = $row.job and s.opens_at > c.now),
        'next_at', {schema}.micros(
            (select min(s.opens_at) from {schema}.limit_gate s where s.queue = $row.job and s.opens_at > c.now)))
     from {schema}.limit_gate g
     where g.queue = $row.job and g.turn_us is not null
     order by g.opens_at desc, g.key desc limit 1)
