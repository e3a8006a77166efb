-- Lists live and finished executions, those that changed last first: by updated_at, id and generation, descending.
--
-- $1 timestamptz  now, or null for the server's clock
-- $2 text         only this job, or null
-- $3 text         only this scope's kind, or null
-- $4 text         ... and id
-- $5 text[]       only these states; empty: all
-- $6 timestamptz  last change of the row that the page begins after, or null
-- $7 uuid         ... its id
-- $8 bigint       ... and its generation
-- $9 bigint       most rows
--
-- Index: history_finished from its end (a finished row never changes again, so it changed last when it finished).
-- Live rows are few, and are sorted. Each side gives at most $9 rows.
with live as materialized (
    select * from {schema}.execution e
    where ($2::text is null or e.job = $2::text)
      and ($3::text is null or (e.scope_kind = $3::text and e.scope_id = $4::text))
      and (cardinality($5::text[]) = 0 or e.state = any ($5::text[]))
      and ($6::timestamptz is null or (e.updated_at, e.id, e.generation) < ($6::timestamptz, $7::uuid, $8::bigint))
    order by e.updated_at desc, e.id desc, e.generation desc
    limit $9::bigint
),
finished as materialized (
    select * from {schema}.history e
    where ($2::text is null or e.job = $2::text)
      and ($3::text is null or (e.scope_kind = $3::text and e.scope_id = $4::text))
      and (cardinality($5::text[]) = 0 or e.state = any ($5::text[]))
      and ($6::timestamptz is null or (e.finished_at, e.id, e.generation) < ($6::timestamptz, $7::uuid, $8::bigint))
    order by e.finished_at desc, e.id desc, e.generation desc
    limit $9::bigint
),
page as materialized (
    select * from (select * from live union all select * from finished) e
    order by e.updated_at desc, e.id desc, e.generation desc
    limit $9::bigint
)
select json_build_object('recent_page', json_build_object(
    'now', {schema}.micros(coalesce($1::timestamptz, clock_timestamp())),
    'executions', coalesce((
        select json_agg({execution_json:p} order by p.updated_at desc, p.id desc, p.generation desc)
        from page p), '[]')))::text as reply
