case when $row.state <> 'running' or ($row.lease_expires_at >= (select now from began)) is not true then 1 end is not null
