-- Where in a trace an item was enqueued: a W3C traceparent, and behind a space its tracestate. Null where nobody says.
alter table execution add column trace text;
alter table history add column trace text;
alter table unreadable add column trace;
