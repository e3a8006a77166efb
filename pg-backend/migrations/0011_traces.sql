-- Where in a trace an item was enqueued: a W3C traceparent, and behind a space its tracestate. Null where nobody says.
alter table {schema}.execution add column trace text;
alter table {schema}.history add column trace text;
alter table {schema}.unreadable add column trace text;
