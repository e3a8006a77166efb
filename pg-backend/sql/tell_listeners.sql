-- Tells whoever listens, at any store on this schema, of jobs that may have become due.
--
-- $1 text  channel
-- $2 text  a notice as JSON, less than 8,000 bytes
--
-- No table. In a transaction of its own and never in that of a verb: commits that carry a message take turns for one
-- lock of the whole server, which made writers ten to twenty times slower here.
select pg_notify($1, $2)::text as reply
