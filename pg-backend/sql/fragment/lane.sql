(case when $row.slot_at is null then $row.job else '' end)
