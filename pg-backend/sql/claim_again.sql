-- Answers a claim that was carried out before: of what it took, what it still holds, as that is now.
--
-- $1 uuid         request id: the token of every row taken
--
-- Answers lines as claim_executions.sql does. Index: primary keys. Locks nothing, writes nothing.
select h.*, t.*
from (select r.received_at as now, true as is_repeated, r.reply::text as skipped, null::text as gateless,
          null::text as floor, 0::bigint as position
      from {schema}.receipt r where r.request = $1::uuid) h
full join (
    select i.position, {claimed_columns:e}
    from {schema}.receipt r
    cross join unnest(r.taken) with ordinality as i (id, position)
    join {schema}.execution e on e.id = i.id and e.token = $1::uuid and e.state = 'running'
    where r.request = $1::uuid
) t on t.position = h.position
