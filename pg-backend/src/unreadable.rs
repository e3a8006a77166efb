//! Owns what becomes of claimed rows that cannot be read: they are set aside with the reasons, and the others run.

use serde::Deserialize;
use serde_json::Value;
use tourbillon::{
    model::{Execution, ExecutionId, RequestId, SkipReason, Timestamp},
    store::{Claimed, Reply, StoreError},
};

use crate::{
    error::Fault,
    parameter::at,
    session::Session,
    store::{Inner, decode},
    wire::Id,
};

/// The reply to a claim, its rows not read yet.
#[derive(Deserialize)]
struct Raw {
    claimed: RawClaimed,
}

#[derive(Deserialize)]
struct RawClaimed {
    now: Timestamp,
    executions: Vec<Value>,
    skipped: Vec<(ExecutionId, SkipReason)>,
}

/// A row that cannot be read.
struct Unreadable {
    id: Id,
    reason: String,
}

/// Reads what can be read. A row without an id is no row of ours: then the whole reply is.
fn sort(text: &str) -> Result<(Claimed, Vec<Unreadable>), StoreError> {
    let RawClaimed { now, executions, skipped } = decode::<Raw>(text)?.claimed;
    let (mut readable, mut others) = (Vec::new(), Vec::new());
    for value in executions {
        let id = value.get("id").cloned();
        match serde_json::from_value::<Execution>(value) {
            Ok(row) => readable.push(row),
            Err(error) => {
                let id: ExecutionId = decode(&id.unwrap_or_default().to_string())?;
                tracing::error!(execution = %id, reason = %error, "cannot be read; set aside in the table `unreadable`");
                others.push(Unreadable { id: Id::from(id), reason: error.to_string() });
            }
        }
    }
    Ok((Claimed { now, executions: readable, skipped }, others))
}

impl Inner {
    /// A claim whose reply cannot be read as a whole. It has been committed: what is set aside here was ours, and should
    /// this fail, the lease ends and the next claim finds it again.
    pub(crate) async fn claimed_in_part(
        &self,
        session: &mut Session<'_>,
        id: RequestId,
        text: &str,
    ) -> Result<Reply, Fault> {
        let (claimed, others) = sort(text).map_err(Fault::Final)?;
        let (ids, reasons): (Vec<_>, Vec<_>) = others.into_iter().map(|row| (row.id, row.reason)).unzip();
        let aside = at(&self.statements.set_aside, self.clock.fixed()).bind(Id::from(id)).bind(ids).bind(reasons);
        session.ask(aside).await?;
        Ok(Reply::Claimed(claimed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_can_be_read_are_kept_and_the_others_named() {
        let text =
            r#"{"claimed":{"now":1,"executions":[{"id":"00000000-0000-0000-0000-000000000007"}],"skipped":[]}}"#;
        let (claimed, others) = sort(text).expect("the frame is sound");
        assert!(claimed.executions.is_empty());
        assert_eq!(others.len(), 1);
        assert!(others[0].reason.contains("missing field"), "{}", others[0].reason);
        assert!(sort(r#"{"claimed":{"now":1,"executions":[{}],"skipped":[]}}"#).is_err());
    }
}
