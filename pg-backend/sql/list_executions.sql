-- Lists live and finished executions, ordered by (id, generation).
--
-- $1 timestamptz  now, or null for the server's clock
-- $2 text         only this job, or null
-- $3 uuid         only this execution, or null
-- $4 text[]       only these states; empty: all
-- $5 uuid         continue behind this execution, or null
-- $6 bigint       ... and this generation
-- $7 bigint       most rows
--
-- Index: primary keys, read in order from the place to continue; each side gives at most $7 rows.
with live as materialized (
    select * from {schema}.execution e
    where ($2::text is null or e.job = $2::text) and ($3::uuid is null or e.id = $3::uuid)
      and (cardinality($4::text[]) = 0 or e.state = any ($4::text[]))
      and ($5::uuid is null or (e.id, e.generation) > ($5::uuid, $6::bigint))
    order by e.id, e.generation
    limit $7::bigint
),
finished as materialized (
    select * from {schema}.history e
    where ($2::text is null or e.job = $2::text) and ($3::uuid is null or e.id = $3::uuid)
      and (cardinality($4::text[]) = 0 or e.state = any ($4::text[]))
      and ($5::uuid is null or (e.id, e.generation) > ($5::uuid, $6::bigint))
    order by e.id, e.generation
    limit $7::bigint
),
page as materialized (
    select * from (select * from live union all select * from finished) e
    order by e.id, e.generation
    limit $7::bigint
)
select json_build_object('execution_page', json_build_object(
    'now', {schema}.micros(coalesce($1::timestamptz, clock_timestamp())),
    'executions', coalesce((
        select json_agg({execution_json:p} order by p.id, p.generation) from page p), '[]')))::text as reply
