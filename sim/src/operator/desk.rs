//! What a pass of a loop works with: its tables, the outside, the stages of its units. Decides nothing.

use std::time::Duration;

use tourbillon::{
    model::RequestId,
    store::{ErrorKind, StoreError},
};

use super::{
    loops::Loop,
    outside::Outside,
    tables::{AsOf, Operator, Reply, Verb},
};
use crate::{
    history::CallAnswer,
    world::{Call, CallError, Host, TablesOf, Unit},
};

/// How long a write is repeated while its outcome is unknown.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two repetitions.
const PAUSE: Duration = Duration::from_millis(500);

/// A loop's means in one process. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Desk {
    host: Host,
    tables: TablesOf<Operator>,
    which: Loop,
}

impl Desk {
    pub(super) fn new(host: &Host, which: Loop) -> Self {
        Self { host: host.clone(), tables: host.tables(), which }
    }

    /// Begins a unit of work of this loop.
    pub(super) fn unit(&self, name: impl Into<String>) -> Unit {
        self.host.unit(self.which.id(), name)
    }

    /// The replica's own clock, which it should not trust.
    pub(super) fn wall(&self) -> AsOf {
        Some(self.host.runtime().wall())
    }

    /// Asks once. A lost answer is an error, as it is for an application that does not repeat.
    pub(super) async fn ask(&self, verb: Verb) -> Result<Reply, StoreError> {
        self.tables.ask(&verb).await
    }

    /// Asks until there is an answer: the same request id each time, so that a repetition learns the first outcome.
    pub(super) async fn insist(&self, verb: Verb) -> Result<Reply, StoreError> {
        let id: RequestId = self.tables.request_id();
        let runtime = self.host.runtime();
        let give_up_at = runtime.monotonic() + PATIENCE;
        loop {
            match self.tables.ask_as(id, &verb).await {
                Err(error) if error.is_transient() && runtime.monotonic() < give_up_at => runtime.sleep(PAUSE).await,
                answer => return answer,
            }
        }
    }

    /// Calls the outside for a unit.
    pub(super) async fn call(&self, unit: &Unit, to: Outside, call: Call) -> Result<CallAnswer, CallError> {
        self.host.call(unit, to as u8, call).await
    }

    /// A way to tell when this process is late.
    pub(super) fn watch(&self, limit: Duration) -> impl Fn() -> bool + Send + use<> {
        let runtime = self.host.runtime();
        let until = runtime.monotonic() + limit;
        move || runtime.monotonic() >= until
    }

    /// What a loop does about an error of one row: it says so and goes on (P-40).
    pub(super) fn shrug(&self, what: &str, error: &dyn std::fmt::Display) {
        tracing::warn!(which = %self.which, what, %error, "goes on with the next one");
    }
}

/// The tables answered a question that was not asked: a bug of this workload.
pub(super) fn odd(reply: &Reply) -> StoreError {
    StoreError::new(ErrorKind::Corrupt, format!("an odd reply: {reply:?}"))
}

/// Whether the outside did what it was asked for, now or before.
pub(super) fn is_done(answer: &Result<CallAnswer, CallError>) -> bool {
    matches!(answer, Ok(CallAnswer::Done | CallAnswer::Duplicate))
}
