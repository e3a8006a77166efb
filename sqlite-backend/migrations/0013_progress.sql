-- How far an execution's last attempt said it was: note, thousandths, and microseconds since 1970 of the heartbeat that brought it.
alter table execution add column progress text;
alter table history add column progress text;
alter table unreadable add column progress;
