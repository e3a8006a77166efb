-- Lists schedules that the database keeps, ordered by (job, scope, revision).
--
-- $1 timestamptz  now, or null for the server's clock
-- $2 text         only of this job, or null
-- $3 text         only of the scope of this kind, or null
-- $4 text         … and this id
-- $5 boolean      whether all revisions count, or those in force alone
-- $6 text         job that the page begins behind, or null
-- $7 text         … the kind of its scope
-- $8 text         … its id
-- $9 bigint       … and the revision
-- $10 bigint      most rows
--
-- Index: primary key of schedule, in its order.
with page as materialized (
    select * from {schema}.schedule s
    where ($2::text is null or s.job = $2::text)
      and ($3::text is null or (s.scope_kind = $3::text and s.scope_id = $4::text))
      and ($5::boolean or (s.replaced_at is null and s.schedule is not null))
      and ($6::text is null
        or (s.job, s.scope_kind, s.scope_id, s.revision) > ($6::text, $7::text, $8::text, $9::bigint))
    order by s.job, s.scope_kind, s.scope_id, s.revision
    limit $10::bigint
)
select json_build_object('schedule_page', json_build_object(
    'now', {schema}.micros(coalesce($1::timestamptz, clock_timestamp())),
    'schedules', coalesce((
        select json_agg({schedule_json:p} order by p.job, p.scope_kind, p.scope_id, p.revision)
        from page p), '[]')))::text as reply
