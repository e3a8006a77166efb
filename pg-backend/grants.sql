grant usage on schema tourbillon to app;
grant select, insert, update, delete on all tables in schema tourbillon to app;
alter default privileges in schema tourbillon grant select, insert, update, delete on tables to app;
