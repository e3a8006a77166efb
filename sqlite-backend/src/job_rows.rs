//! Owns row access to jobs as operators see them. Decides nothing.

use rusqlite::params_from_iter;
use tourbillon::{
    model::{Execution, JobName, Scope},
    store::{JobRecord, JobRows, ListRecent, StoreError, Success},
};
use uuid::Uuid;

use crate::{
    row::{self, Columns, id, integer, optional, text},
    rows::{SqliteRows, job_record, json_array},
    sql,
};

impl JobRows for SqliteRows<'_> {
    fn jobs(&mut self, after: Option<&JobName>, limit: u32) -> Result<Vec<(JobName, JobRecord)>, StoreError> {
        self.all(sql::LIST_JOBS, (after.map_or("", JobName::as_str), limit), |row| {
            let mut columns = Columns::new(row);
            let job = columns.job()?;
            Ok((job, job_record(&mut columns)?))
        })
    }

    fn last_success(&mut self, job: &JobName, scope: &Scope) -> Result<Option<Success>, StoreError> {
        self.first(sql::SELECT_LAST_SUCCESS, (job.as_str(), scope.kind(), scope.id()), |row| {
            let mut columns = Columns::new(row);
            Ok(Success { slot_at: columns.instant()?, finished_at: columns.instant()? })
        })
    }

    fn recent(&mut self, filter: &ListRecent) -> Result<Vec<Execution>, StoreError> {
        let states = json_array(filter.states.iter().map(|state| state.as_str()));
        let scope = filter.scope.as_ref();
        let (at, last, generation) =
            filter.after.map_or((i64::MAX, Uuid::max(), i64::MAX), |(at, id, generation)| {
                (at.as_micros(), id.0, i64::from(generation.0))
            });
        let params = [
            optional(filter.job.as_ref(), |job| text(job.as_str())),
            optional(scope, |scope| text(scope.kind())),
            optional(scope, |scope| text(scope.id())),
            text(&states),
            integer(at),
            id(&last),
            integer(generation),
            integer(filter.limit),
        ];
        self.all(sql::LIST_RECENT, params_from_iter(params), row::read)
    }
}
