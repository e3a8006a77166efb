//! Owns row access to pauses. Decides nothing.

use rusqlite::{Row, params_from_iter};
use tourbillon::{
    model::{JobName, Pause, RequestId, Scope},
    store::{ListPauses, PauseFilter, PauseRows, StoreError},
};

use crate::{
    row::{Columns, id, instant, integer, optional, text},
    rows::SqliteRows,
    sql,
};

impl PauseRows for SqliteRows<'_> {
    fn pauses(&mut self, job: &JobName) -> Result<Vec<Pause>, StoreError> {
        self.all(sql::SELECT_PAUSES, [job.as_str()], read)
    }

    fn put_pause(&mut self, pause: &Pause) -> Result<(), StoreError> {
        let scope = pause.scope.as_ref();
        let params = [
            id(&pause.id.0),
            text(pause.job.as_str()),
            text(scope.map_or("", Scope::kind)),
            text(scope.map_or("", Scope::id)),
            instant(pause.paused_at),
            text(&pause.paused_by),
            optional(pause.resumed_at, instant),
            optional(pause.resumed_by.as_deref(), text),
        ];
        self.execute(sql::UPSERT_PAUSE, params_from_iter(params)).map(drop)
    }

    fn list_pauses(&mut self, filter: &ListPauses) -> Result<Vec<Pause>, StoreError> {
        let params = [
            optional(filter.job.as_ref(), |job| text(job.as_str())),
            integer(filter.which == PauseFilter::All),
            integer(filter.offset),
            integer(filter.limit),
        ];
        self.all(sql::LIST_PAUSES, params_from_iter(params), read)
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<Pause> {
    let mut columns = Columns::new(row);
    Ok(Pause {
        id: RequestId(columns.id()?),
        job: columns.job()?,
        scope: columns.scope_or_all()?,
        paused_at: columns.instant()?,
        paused_by: columns.next()?,
        resumed_at: columns.optional_instant()?,
        resumed_by: columns.next()?,
    })
}
