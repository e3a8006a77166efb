-- Lists audit events, ordered by (execution, generation, fence, step): along the life of each execution.
--
-- $1 text      only this job, or null
-- $2 uuid      only this execution, or null
-- $3 uuid      continue behind the event of this execution, or null
-- $4 bigint    ... this generation
-- $5 bigint    ... this fence
-- $6 smallint  ... and this step
-- $7 bigint    most events
--
-- Index: primary key, read in order from the place to continue.
with page as materialized (
    select * from {schema}.audit a
    where ($1::text is null or a.job = $1::text) and ($2::uuid is null or a.execution = $2::uuid)
      and ($3::uuid is null
           or (a.execution, a.generation, a.fence, a.step) > ($3::uuid, $4::bigint, $5::bigint, $6::smallint))
    order by a.execution, a.generation, a.fence, a.step
    limit $7::bigint
)
select json_build_object('audit_page', json_build_object(
    'events', coalesce((
        select json_agg(json_build_object(
            'key', json_build_object('execution', p.execution, 'generation', p.generation, 'fence', p.fence,
                'step', p.step),
            'at', {schema}.micros(p.at),
            'job', p.job,
            'scope', json_build_object('kind', p.scope_kind, 'id', p.scope_id),
            'actor', json_build_object('actor_type', p.actor_type, 'name', p.actor),
            'action', p.action,
            'details', p.details)
            order by p.execution, p.generation, p.fence, p.step)
        from page p), '[]')))::text as reply
