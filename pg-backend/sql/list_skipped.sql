-- Lists the missed-slot ledger, ordered by (job, scope, after, through, reason, recorded, insertion).
--
-- $1 text    only this job, or null
-- $2 bigint  how many to pass over
-- $3 bigint  most entries
--
-- Index: skipped_listing, which is the order.
with page as materialized (
    select * from {schema}.skipped s
    where $1::text is null or s.job = $1::text
    order by s.job, s.scope_kind, s.scope_id, s.after, s.through, s.reason, s.recorded_at, s.seq
    offset $2::bigint limit $3::bigint
)
select json_build_object('skipped_page', json_build_object(
    'entries', coalesce((
        select json_agg(json_build_object(
            'job', s.job,
            'scope', json_build_object('kind', s.scope_kind, 'id', s.scope_id),
            'slots', json_build_object('after', {schema}.micros(s.after), 'through', {schema}.micros(s.through),
                'count', s.count, 'reason', s.reason),
            'recorded_at', {schema}.micros(s.recorded_at))
            order by s.job, s.scope_kind, s.scope_id, s.after, s.through, s.reason, s.recorded_at, s.seq)
        from page s), '[]')))::text as reply
