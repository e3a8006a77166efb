//! Owns audit events as rows of the table `audit`. Decides nothing.

use rusqlite::{Row, params_from_iter};
use tourbillon::{
    model::{
        Actor, ActorType, AuditAction, AuditDetails, AuditEvent, AuditKey, ExecutionId, Fence, Generation, Timestamp,
    },
    store::{AuditRows, ListAudit, StoreError},
};
use uuid::Uuid;

use crate::{
    row::{Columns, count, id, instant, integer, optional, text},
    rows::SqliteRows,
    sql,
};

impl AuditRows for SqliteRows<'_> {
    fn add_audit(&mut self, event: &AuditEvent) -> Result<(), StoreError> {
        let AuditEvent { key, at, job, scope, actor, action, details } = event;
        let details = serde_json::to_string(details).expect("details are plain fields");
        let params = [
            id(&key.execution.0),
            integer(key.generation.0),
            count("fence", key.fence.0)?,
            integer(key.step),
            instant(*at),
            text(job.as_str()),
            text(scope.kind()),
            text(scope.id()),
            text(actor.actor_type.as_str()),
            text(&actor.name),
            text(action.as_str()),
            text(&details),
        ];
        self.execute(sql::INSERT_AUDIT, params_from_iter(params)).map(drop)
    }

    fn list_audit(&mut self, filter: &ListAudit) -> Result<Vec<AuditEvent>, StoreError> {
        let (least, greatest) = filter.execution.map_or((Uuid::nil(), Uuid::max()), |only| (only.0, only.0));
        // Generations begin with 1: nothing is before this.
        let before_all =
            AuditKey { execution: ExecutionId(Uuid::nil()), generation: Generation(0), fence: Fence(0), step: 0 };
        let after = filter.after.unwrap_or(before_all);
        let params = [
            optional(filter.job.as_ref(), |job| text(job.as_str())),
            id(&least),
            id(&greatest),
            id(&after.execution.0),
            integer(after.generation.0),
            count("fence", after.fence.0)?,
            integer(after.step),
            integer(filter.limit),
        ];
        self.all(sql::LIST_AUDIT, params_from_iter(params), read)
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<AuditEvent> {
    let mut columns = Columns::new(row);
    let columns = &mut columns;
    // Fields of a struct literal are evaluated as written: this is the order of the table.
    let key = AuditKey {
        execution: ExecutionId(columns.id()?),
        generation: Generation(columns.next()?),
        fence: Fence(columns.count()?),
        step: columns.next()?,
    };
    let at: Timestamp = columns.instant()?;
    let (job, scope) = (columns.job()?, columns.scope()?);
    let actor = Actor { actor_type: columns.named(ActorType::from_name)?, name: columns.str()?.to_owned() };
    let action = columns.named(AuditAction::from_name)?;
    let details: Result<AuditDetails, _> = serde_json::from_str(columns.str()?);
    let details = details.map_err(|error| columns.refuse_with(error))?;
    Ok(AuditEvent { key, at, job, scope, actor, action, details })
}
