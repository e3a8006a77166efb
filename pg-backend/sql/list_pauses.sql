-- Lists pauses, newest first: by paused_at and id, descending.
--
-- $1 timestamptz  now, or null for the server's clock
-- $2 text         only of this job, or null
-- $3 boolean      whether lifted ones count
-- $4 bigint       how many to pass over
-- $5 bigint       most rows
--
-- Index: none: people make pauses, so they are few.
with page as materialized (
    select * from {schema}.pause p
    where ($2::text is null or p.job = $2::text) and ($3::boolean or p.resumed_at is null)
    order by p.paused_at desc, p.id desc
    offset $4::bigint limit $5::bigint
)
select json_build_object('pause_page', json_build_object(
    'now', {schema}.micros(coalesce($1::timestamptz, clock_timestamp())),
    'pauses', coalesce((
        select json_agg({pause_json:p} order by p.paused_at desc, p.id desc) from page p), '[]')))::text as reply
