-- Takes a lock that nobody holds. Answers null when somebody else made the lock's row, or took it, meanwhile: hold_lock.sql first, then this again.
--
-- $1 timestamptz  now, or null for the server's clock
-- $2 uuid         request id; the token of the new holder
-- $3 text         name
-- $4 uuid         incarnation that asks
-- $5 bigint       time to live, milliseconds
--
-- Index: primary keys. The holder is never waited for; the row's own lock is, for as long as another statement like
-- this one takes, because a SKIP LOCKED could only guess what that one decides. The clock is read behind it (see
-- start_executions.sql). A row that somebody inserts meanwhile is invisible to this statement's snapshot, so that
-- the insert does nothing and there is no answer; the row exists from then on, hence this happens once per name. A
-- lock that is held leaves no receipt: idle polling must not write. Who took it while this statement waited may have
-- been this very request, sent twice, whose receipt the snapshot does not show: `seen` is the row as the snapshot has it,
-- and where its epoch is not that of the locked row, nobody is told that the lock is held.
with
first as materialized (
    select r.reply from {schema}.receipt r where r.request = $2::uuid
),
seen as materialized (
    select l.epoch from {schema}.lock l where l.name = $3::text
),
locked as materialized (
    select l.* from {schema}.lock l where l.name = $3::text and not exists (select from first) for update of l
),
clock as materialized (
    select coalesce($1::timestamptz, clock_timestamp()) as now from (select count(*) from locked) l
),
free as materialized (
    select l.name, l.epoch + 1 as epoch, c.now, c.now + $5::bigint * interval '1 millisecond' as until
    from locked l cross join clock c
    where l.released_at is not null or l.expires_at < c.now
),
taken as (
    update {schema}.lock l
    set epoch = f.epoch, holder = $4::uuid, token = $2::uuid, ttl_ms = $5::bigint, acquired_at = f.now,
        renewed_at = f.now, expires_at = f.until, released_at = null
    from free f
    where l.name = f.name
    returning f.epoch, f.until
),
made as (
    insert into {schema}.lock (name, epoch, holder, token, ttl_ms, acquired_at, renewed_at, expires_at)
    select $3::text, 1, $4::uuid, $2::uuid, $5::bigint, c.now, c.now, c.now + $5::bigint * interval '1 millisecond'
    from clock c
    where not exists (select from first) and not exists (select from locked)
    on conflict (name) do nothing
    returning epoch, expires_at as until
),
got as materialized (
    select t.epoch, t.until from taken t union all select m.epoch, m.until from made m
),
reply as materialized (
    select json_build_object('lock_tried', json_build_object(
        'now', {schema}.micros(c.now),
        'outcome', case
            when g.epoch is not null then json_build_object('Ok', json_build_object(
                'epoch', g.epoch, 'expires_at', {schema}.micros(g.until)))
            else json_build_object('Err', json_build_object(
                'holder', l.holder, 'epoch', l.epoch, 'expires_at', {schema}.micros(l.expires_at))) end)) as reply
    from clock c left join got g on true left join locked l on true
    where g.epoch is not null or l.epoch = (select s.epoch from seen s)
),
kept as (
    insert into {schema}.receipt (request, received_at, reply)
    select $2::uuid, c.now, r.reply from reply r cross join clock c
    where exists (select from got)
)
select coalesce((select f.reply from first f), (select r.reply from reply r))::text as reply
