-- How far an execution's last attempt said it was: note, thousandths, and microseconds since 1970 of the heartbeat that brought it.
alter table {schema}.execution add column progress json;
alter table {schema}.history add column progress json;
alter table {schema}.unreadable add column progress json;
