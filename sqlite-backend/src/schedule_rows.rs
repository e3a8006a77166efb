//! Owns row access to schedules that the database keeps. Decides nothing.

use rusqlite::{Row, params_from_iter};
use tourbillon::{
    model::{JobName, Json, Scope},
    store::{
        ListSchedules, Revision, ScheduleData, ScheduleFilter, ScheduleRows, SpecHash, StoreError, StoredSchedule,
    },
};

use crate::{
    row::{Columns, instant, integer, optional, text},
    rows::SqliteRows,
    sql,
};

impl ScheduleRows for SqliteRows<'_> {
    fn schedules(&mut self, job: &JobName) -> Result<Vec<StoredSchedule>, StoreError> {
        self.all(sql::SELECT_SCHEDULES, [job.as_str()], read)
    }

    fn newest_schedule(&mut self, job: &JobName, scope: &Scope) -> Result<Option<StoredSchedule>, StoreError> {
        self.first(sql::SELECT_NEWEST_SCHEDULE, [job.as_str(), scope.kind(), scope.id()], read)
    }

    fn put_schedule(&mut self, stored: &StoredSchedule) -> Result<(), StoreError> {
        let schedule = stored.schedule.as_ref();
        let params = [
            text(stored.job.as_str()),
            text(stored.scope.kind()),
            text(stored.scope.id()),
            integer(stored.revision.0),
            optional(schedule, |schedule| text(schedule.json.as_str())),
            optional(schedule, |schedule| text(&schedule.hash.0)),
            optional(stored.note.as_deref(), text),
            instant(stored.edited_at),
            text(&stored.edited_by),
            optional(stored.replaced_at, instant),
        ];
        self.execute(sql::UPSERT_SCHEDULE, params_from_iter(params)).map(drop)
    }

    fn list_schedules(&mut self, filter: &ListSchedules) -> Result<Vec<StoredSchedule>, StoreError> {
        let (scope, after) = (filter.scope.as_ref(), filter.after.as_ref());
        let params = [
            optional(filter.job.as_ref(), |job| text(job.as_str())),
            optional(scope, |scope| text(scope.kind())),
            optional(scope, |scope| text(scope.id())),
            integer(filter.which == ScheduleFilter::All),
            optional(after, |(job, _, _)| text(job.as_str())),
            optional(after, |(_, scope, _)| text(scope.kind())),
            optional(after, |(_, scope, _)| text(scope.id())),
            optional(after, |(_, _, revision)| integer(revision.0)),
            integer(filter.limit),
        ];
        self.all(sql::LIST_SCHEDULES, params_from_iter(params), read)
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<StoredSchedule> {
    let mut columns = Columns::new(row);
    Ok(StoredSchedule {
        job: columns.job()?,
        scope: columns.scope()?,
        revision: Revision(columns.next()?),
        schedule: match (columns.optional_str()?, columns.optional_str()?) {
            (Some(json), Some(hash)) => {
                Some(ScheduleData { json: Json::from_stored(json), hash: SpecHash(hash.into()) })
            }
            (None, None) => None,
            _ => return Err(columns.refuse("a schedule without its hash, or a hash without its schedule")),
        },
        note: columns.next()?,
        edited_at: columns.instant()?,
        edited_by: columns.next()?,
        replaced_at: columns.optional_instant()?,
    })
}
