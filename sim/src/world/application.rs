//! A scenario's own tables: state beside the engine in the simulated database, changed by typed verbs. Owns how such
//! a verb is applied, alone or in one transaction with a store request; knows no scenario, no clock and no network.
//!
//! A user's job reads and writes tables of its own. In the simulation those must live where the scheduler's rows
//! live, under the same faults (refused, reply lost, applied late, restart, lost by a fail-over), at the same
//! database time, and in the same history. A [`Tables`] is such a set of tables: a value and a function. It works
//! with every engine, since it is not in the engine.

use std::{collections::BTreeMap, fmt, sync::Arc};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use tourbillon::{
    model::{Incarnation, RequestId, Timestamp},
    store::{ErrorKind, Reply, Request, StoreError},
};

use super::engine::Engine;

/// A scenario's own tables, typed: what a run starts with, and what each verb does.
///
/// The state machine must be deterministic: the same verbs at the same instants make the same tables, since a
/// fail-over rebuilds them from the log of verbs. What happens in the outside world (rows that come due, agents that
/// report) is best computed from a seed and `now`.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use tourbillon::{model::Timestamp, store::StoreError};
/// use tourbillon_sim::world::application::Tables;
///
/// #[derive(Clone, Default, Serialize)]
/// struct Counter { value: u64 }
///
/// #[derive(Serialize, Deserialize)]
/// enum Count { Add(u64), Read }
///
/// impl Tables for Counter {
///     type Verb = Count;
///     type Reply = u64;
///     type Change = String;
///     fn apply(&mut self, _: Timestamp, verb: Count, changes: &mut Vec<String>) -> Result<u64, StoreError> {
///         if let Count::Add(by) = verb {
///             self.value += by;
///             changes.push(format!("{} more", by));
///         }
///         Ok(self.value)
///     }
/// }
/// ```
pub trait Tables: Clone + Serialize + Send + 'static {
    /// A request. Carries no "now".
    type Verb: Serialize + DeserializeOwned + Send;
    /// What the caller is told.
    type Reply: Serialize + DeserializeOwned + Send;
    /// What the history keeps of a transaction beside its verb and reply: which rows changed, and how.
    type Change: Serialize + DeserializeOwned;

    /// Carries out one verb as one transaction at `now`, by the database clock, and notes what it changed.
    ///
    /// # Errors
    /// Whatever the verb refuses. Nothing may have changed then.
    fn apply(
        &mut self,
        now: Timestamp,
        verb: Self::Verb,
        changes: &mut Vec<Self::Change>,
    ) -> Result<Self::Reply, StoreError>;
}

/// A scenario's own tables as the database host holds them: [`Tables`] without their types. Made by [`tables`].
pub trait Application: Send {
    /// As [`Tables::apply`]; also returns the changes.
    ///
    /// # Errors
    /// `Invalid` when `verb` is not one of this application; else those of the verb.
    fn apply(&mut self, now: Timestamp, verb: &Value) -> Result<(Value, Vec<Value>), StoreError>;
    /// A copy, for a transaction that may still be rolled back.
    fn duplicate(&self) -> Box<dyn Application>;
    /// Everything it holds, for the history's end.
    fn state(&self) -> Value;
}

/// Makes a run's tables as they are at the start: called when a run begins, and again when a fail-over rebuilds them
/// from the log of verbs.
pub type ApplicationFactory = Arc<dyn Fn() -> Box<dyn Application> + Send + Sync>;

/// The factory of these tables, for [`RunSetup::application`](super::RunSetup::application).
pub fn tables<T: Tables>(make: impl Fn() -> T + Send + Sync + 'static) -> ApplicationFactory {
    Arc::new(move || Box::new(Typed(make())))
}

struct Typed<T>(T);

impl<T: Tables> Application for Typed<T> {
    fn apply(&mut self, now: Timestamp, verb: &Value) -> Result<(Value, Vec<Value>), StoreError> {
        let verb = T::Verb::deserialize(verb)
            .map_err(|error| StoreError::new(ErrorKind::Invalid, format!("no verb of this application: {error}")))?;
        let mut changes = Vec::new();
        let reply = self.0.apply(now, verb, &mut changes)?;
        Ok((written(&reply), changes.iter().map(written).collect()))
    }

    fn duplicate(&self) -> Box<dyn Application> {
        Box::new(Self(self.0.clone()))
    }

    fn state(&self) -> Value {
        written(&self.0)
    }
}

fn written(value: &impl Serialize) -> Value {
    serde_json::to_value(value).expect("verbs, replies and tables are plain data with text keys")
}

/// One call of an application verb.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct ApplicationRequest {
    /// New for every call, kept for every repetition of it: repeating it returns the first outcome.
    pub id: RequestId,
    /// Who asks.
    pub incarnation: Incarnation,
    /// What to do.
    pub verb: Value,
    /// A store request in the same transaction: the caller's own transaction. If the store fails, or refuses any row
    /// of it, the verb does nothing either.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub with: Option<Request>,
}

/// Reply to an [`ApplicationRequest`].
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct ApplicationReply {
    /// Of the verb.
    pub value: Value,
    /// Of the store request, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub with: Option<Reply>,
}

/// The tables of one run, with the receipts of what was applied to them. In a database the receipts would be a
/// table as well: they go and come back with a fail-over.
pub(super) struct Held {
    application: Box<dyn Application>,
    receipts: BTreeMap<RequestId, ApplicationReply>,
}

/// What one application request did, for the history.
pub(super) struct Done {
    pub(super) result: Result<ApplicationReply, StoreError>,
    pub(super) changes: Vec<Value>,
    /// What the store made of the request beside it; `None` when it was not asked.
    pub(super) with: Option<Result<Reply, StoreError>>,
}

impl Done {
    fn without_store(result: Result<ApplicationReply, StoreError>) -> Self {
        Self { result, changes: Vec::new(), with: None }
    }
}

impl Held {
    pub(super) fn new(application: Box<dyn Application>) -> Self {
        Self { application, receipts: BTreeMap::new() }
    }

    pub(super) fn state(&self) -> Value {
        self.application.state()
    }

    /// Carries out one request at `now`. `engine` is asked for the store request beside it, if there is one.
    pub(super) fn apply(&mut self, now: Timestamp, asked: &ApplicationRequest, engine: &mut dyn Engine) -> Done {
        if let Some(first) = self.receipts.get(&asked.id) {
            return Done::without_store(Ok(first.clone()));
        }
        let done = match &asked.with {
            None => self.apply_alone(now, &asked.verb),
            Some(request) => self.apply_with(now, &asked.verb, request, engine),
        };
        if let Ok(reply) = &done.result {
            self.receipts.insert(asked.id, reply.clone());
        }
        done
    }

    fn apply_alone(&mut self, now: Timestamp, verb: &Value) -> Done {
        match self.application.apply(now, verb) {
            Ok((value, changes)) => {
                Done { changes, ..Done::without_store(Ok(ApplicationReply { value, with: None })) }
            }
            Err(error) => Done::without_store(Err(error)),
        }
    }

    /// The verb runs on a copy, which is kept only if the store accepts its part.
    fn apply_with(&mut self, now: Timestamp, verb: &Value, request: &Request, engine: &mut dyn Engine) -> Done {
        let mut trial = self.application.duplicate();
        let (value, changes) = match trial.apply(now, verb) {
            Ok(applied) => applied,
            Err(error) => return Done::without_store(Err(error)),
        };
        let with = engine.apply(now, request);
        let result = match &with {
            Ok(reply) => accepted(reply).map(|()| ApplicationReply { value, with: Some(reply.clone()) }),
            Err(error) => Err(error.clone()),
        };
        let changes = if result.is_ok() {
            self.application = trial;
            changes
        } else {
            Vec::new()
        };
        Done { result, changes, with: Some(with) }
    }
}

/// A store request is part of the transaction only as a whole.
fn accepted(reply: &Reply) -> Result<(), StoreError> {
    let Reply::Settled(settled) = reply else { return Ok(()) };
    match settled.outcomes.iter().find_map(|outcome| outcome.as_ref().err()) {
        None => Ok(()),
        Some(refusal) => {
            let message = format!("the attempt could not be settled in this transaction: {refusal}");
            Err(StoreError::new(ErrorKind::LeaseLost, message))
        }
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("receipts", &self.receipts.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tourbillon::{
        model::{ExecutionId, Fence, Json, LeaseRef, Outcome, Token},
        store::{ReadClock, Settle, Settlement},
    };
    use uuid::Uuid;

    use super::*;
    use crate::world::engine;

    #[derive(Clone, Default, Serialize)]
    struct Counter(u64);

    impl Tables for Counter {
        type Verb = u64;
        type Reply = u64;
        type Change = u64;
        fn apply(&mut self, _: Timestamp, by: u64, changes: &mut Vec<u64>) -> Result<u64, StoreError> {
            if by == 0 {
                return Err(StoreError::new(ErrorKind::Conflict, "nothing to add"));
            }
            self.0 += by;
            changes.push(by);
            Ok(self.0)
        }
    }

    fn asked(id: u128, by: u64, with: Option<Request>) -> ApplicationRequest {
        let id = RequestId(Uuid::from_u128(id));
        ApplicationRequest { id, incarnation: Incarnation(Uuid::nil()), verb: by.into(), with }
    }

    fn request(verb: impl Into<tourbillon::store::Verb>) -> Option<Request> {
        Some(Request { id: RequestId(Uuid::from_u128(99)), verb: verb.into() })
    }

    /// Of a row that nobody has.
    fn refused_settle() -> Option<Request> {
        let id = ExecutionId(Uuid::from_u128(7));
        let lease = LeaseRef { id, token: Token(Uuid::from_u128(8)), fence: Fence(1) };
        let outcome = Outcome::Succeeded { result: Json::empty(), rows_affected: None };
        request(Settle { settlements: vec![Settlement::of(lease, outcome)] })
    }

    fn held() -> (Held, Box<dyn Engine + Send>) {
        let mut engine = engine::memory();
        engine::migrate(engine.as_mut(), Timestamp::EPOCH).expect("an empty store");
        (Held::new(tables(Counter::default)()), engine)
    }

    #[test]
    fn repeating_a_request_returns_the_first_outcome_and_changes_nothing() {
        let (mut held, mut engine) = held();
        let first = held.apply(Timestamp::EPOCH, &asked(1, 5, None), engine.as_mut());
        let again = held.apply(Timestamp::EPOCH, &asked(1, 5, None), engine.as_mut());
        assert_eq!((&first.result, &first.changes), (&again.result, &vec![Value::from(5)]));
        assert_eq!((again.changes, held.state()), (Vec::new(), Value::from(5)));
    }

    #[test]
    fn a_refused_settle_takes_the_application_write_with_it() {
        let (mut held, mut engine) = held();
        let done = held.apply(Timestamp::EPOCH, &asked(1, 5, refused_settle()), engine.as_mut());
        assert_eq!(done.result.expect_err("refused").kind(), ErrorKind::LeaseLost);
        assert!(matches!(done.with, Some(Ok(Reply::Settled(_)))));
        assert_eq!((done.changes, held.state()), (Vec::new(), Value::from(0)));
    }

    #[test]
    fn a_refused_verb_asks_nothing_of_the_store() {
        let (mut held, mut engine) = held();
        let done = held.apply(Timestamp::EPOCH, &asked(1, 0, request(ReadClock {})), engine.as_mut());
        assert_eq!(done.result.expect_err("refused").kind(), ErrorKind::Conflict);
        assert_eq!(done.with, None);
        let done = held.apply(Timestamp::EPOCH, &asked(2, 3, request(ReadClock {})), engine.as_mut());
        assert!(matches!(done.result.expect("accepted").with, Some(Reply::ClockRead(_))));
        assert_eq!(held.state(), Value::from(3));
    }

    #[test]
    fn what_is_no_verb_of_the_application_is_invalid() {
        let (mut held, mut engine) = held();
        let odd = ApplicationRequest { verb: "five".into(), ..asked(1, 5, None) };
        let error = held.apply(Timestamp::EPOCH, &odd, engine.as_mut()).result.expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.message().starts_with("no verb of this application: "), "{error}");
    }
}
