-- Sends a message to oneself along the way that notices take; answers what to wait for.
--
-- $1 text  channel
--
-- No table. Run on the connection that listens: if that is not the session that listens, since a transaction pooler
-- stands between, or if the way back is cut, nothing comes.
with probe as materialized (select 'probe ' || gen_random_uuid()::text as sent)
select sent as reply, pg_notify($1, sent) from probe
