-- Reads the database clock.
--
-- $1 timestamptz  now, or null for the server's clock
--
-- Reads no table.
select json_build_object('clock_read', json_build_object(
    'now', {schema}.micros(coalesce($1::timestamptz, clock_timestamp()))))::text as reply
