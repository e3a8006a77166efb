//! Owns the audit event: one transition of one execution, as it is told to people (G9). Says which transitions there
//! are, who made them, and which of them a job wants told. Pure; knows no store.
//!
//! Heartbeats and the clamping of waits after a step of the clock are no transitions: they change until when, not
//! what.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{
    Execution, ExecutionId, Fence, Generation, Incarnation, JobName, NameError, Outcome, Scope, State, Timestamp,
};

/// Which transitions of a job's executions leave an audit event.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Debug, Default)]
#[serde(rename_all = "snake_case")]
pub enum Audit {
    /// None.
    Off,
    /// Those that somebody will ask about: what operators and rescues did, failures, attempts taken over. The
    /// normal life of an execution (schedule, claim, start, success, give-back, skip) leaves nothing.
    #[default]
    Exceptions,
    /// Every one.
    All,
}

impl Audit {
    /// All choices.
    pub const ALL: [Self; 3] = [Self::Off, Self::Exceptions, Self::All];

    /// The name as stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Exceptions => "exceptions",
            Self::All => "all",
        }
    }

    /// The choice with this stored name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|audit| audit.as_str() == name)
    }

    /// True when this action leaves an event.
    pub const fn wants(self, action: AuditAction) -> bool {
        match self {
            Self::Off => false,
            Self::Exceptions => action.is_exception(),
            Self::All => true,
        }
    }
}

/// A transition, by what was done.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Debug)]
pub enum AuditAction {
    /// The execution was made, by a planner or an enqueue.
    #[serde(rename = "job_schedule")]
    Schedule,
    /// An operator gave it another life.
    #[serde(rename = "job_requeue")]
    Requeue,
    /// A runner took the lease of a waiting row.
    #[serde(rename = "job_claim")]
    Claim,
    /// A runner took over a row whose lease had expired.
    #[serde(rename = "job_reclaim")]
    Reclaim,
    /// The attempt was charged, and its handler may run.
    #[serde(rename = "job_start")]
    Start,
    /// An operator asked a running handler to stop.
    #[serde(rename = "job_cancel_request")]
    CancelRequest,
    /// It succeeded.
    #[serde(rename = "job_succeeded")]
    Succeeded,
    /// It failed and waits for another attempt (P-43).
    #[serde(rename = "job_retry")]
    Retry,
    /// It failed for good.
    #[serde(rename = "job_dead")]
    Dead,
    /// It was given back, uncharged.
    #[serde(rename = "job_release")]
    Release,
    /// Its handler put it off, uncharged.
    #[serde(rename = "job_snooze")]
    Snooze,
    /// It was cancelled: by an operator while it waited, or by its runner, who was asked to stop.
    #[serde(rename = "job_cancel")]
    Cancel,
    /// Its lease had expired and no claim may take it: it is dead, or cancelled if that was asked for.
    #[serde(rename = "job_rescue")]
    Rescue,
    /// It was ended unstarted, as late or superseded.
    #[serde(rename = "job_skip")]
    Skip,
    /// An item was removed with its history, by an operator or as too old. A waiting one was cancelled in the same
    /// transition.
    #[serde(rename = "job_delete")]
    Delete,
    /// An operator made it, beside the schedule of its job.
    #[serde(rename = "job_trigger")]
    Trigger,
}

impl AuditAction {
    /// All actions.
    pub const ALL: [Self; 16] = [
        Self::Schedule,
        Self::Requeue,
        Self::Claim,
        Self::Reclaim,
        Self::Start,
        Self::CancelRequest,
        Self::Succeeded,
        Self::Retry,
        Self::Dead,
        Self::Release,
        Self::Snooze,
        Self::Cancel,
        Self::Rescue,
        Self::Skip,
        Self::Delete,
        Self::Trigger,
    ];

    /// The name as stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Schedule => "job_schedule",
            Self::Requeue => "job_requeue",
            Self::Claim => "job_claim",
            Self::Reclaim => "job_reclaim",
            Self::Start => "job_start",
            Self::CancelRequest => "job_cancel_request",
            Self::Succeeded => "job_succeeded",
            Self::Retry => "job_retry",
            Self::Dead => "job_dead",
            Self::Release => "job_release",
            Self::Snooze => "job_snooze",
            Self::Cancel => "job_cancel",
            Self::Rescue => "job_rescue",
            Self::Skip => "job_skip",
            Self::Delete => "job_delete",
            Self::Trigger => "job_trigger",
        }
    }

    /// The action with this stored name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == name)
    }

    /// True for what [`Audit::Exceptions`] tells.
    pub const fn is_exception(self) -> bool {
        match self {
            Self::Requeue
            | Self::Reclaim
            | Self::CancelRequest
            | Self::Retry
            | Self::Dead
            | Self::Cancel
            | Self::Rescue
            | Self::Delete
            | Self::Trigger => true,
            Self::Schedule
            | Self::Claim
            | Self::Start
            | Self::Succeeded
            | Self::Release
            | Self::Snooze
            | Self::Skip => false,
        }
    }
}

impl fmt::Display for AuditAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What sort of actor.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
pub enum ActorType {
    /// A rule of the system, whichever replica carried it out.
    System,
    /// The incarnation that held, or took, the lease.
    Runner,
    /// A person or program that used an operator's verb.
    Operator,
}

impl ActorType {
    /// All sorts.
    pub const ALL: [Self; 3] = [Self::System, Self::Runner, Self::Operator];

    /// The name as stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Runner => "runner",
            Self::Operator => "operator",
        }
    }

    /// The sort with this stored name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|sort| sort.as_str() == name)
    }
}

/// Who made a transition.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Debug)]
pub struct Actor {
    /// What sort.
    pub actor_type: ActorType,
    /// `system`; an incarnation; an operator's name, `operator` when none was given.
    pub name: String,
}

impl Actor {
    /// A rule of the system.
    pub fn system() -> Self {
        Self { actor_type: ActorType::System, name: ActorType::System.as_str().to_owned() }
    }

    /// An incarnation.
    pub fn runner(incarnation: Incarnation) -> Self {
        Self { actor_type: ActorType::Runner, name: incarnation.to_string() }
    }

    /// An operator, by the name that the request gave.
    pub fn operator(name: Option<&OperatorName>) -> Self {
        let name = name.map_or(ActorType::Operator.as_str(), OperatorName::as_str);
        Self { actor_type: ActorType::Operator, name: name.to_owned() }
    }
}

/// What an operator calls themselves, for audit events: a login, a ticket, a program.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Debug)]
#[serde(transparent)]
pub struct OperatorName(std::sync::Arc<str>);

impl OperatorName {
    /// A checked name: the rules of a [`JobName`].
    ///
    /// # Errors
    /// [`NameError`] says which rule was broken.
    pub fn new(name: &str) -> Result<Self, NameError> {
        JobName::new(name).map(|name| Self(name.as_str().into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Where an event belongs: in the life of its execution, not in time, since the database clock may step back. Keys
/// of one execution grow along its life. No two transitions have one key, so a store that refuses a second event of
/// one key can hold no event twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Debug)]
pub struct AuditKey {
    /// The execution.
    pub execution: ExecutionId,
    /// Which life.
    pub generation: Generation,
    /// Claims so far, the transition's own included.
    pub fence: Fence,
    /// Which of the transitions that can happen under one fence; 0 to 7, in the order in which they can.
    pub step: u8,
}

/// One transition of one execution (G9). Written in the transaction of the transition.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct AuditEvent {
    /// Which transition.
    pub key: AuditKey,
    /// When, by the database clock.
    pub at: Timestamp,
    /// The execution's job.
    pub job: JobName,
    /// Its scope.
    pub scope: Scope,
    /// Who.
    pub actor: Actor,
    /// What.
    pub action: AuditAction,
    /// How it was before and is now.
    pub details: AuditDetails,
}

/// How an execution was before a transition and is after it; kept as JSON.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct AuditDetails {
    /// State before, of the generation before if this one begins; `None` when there was no row.
    pub old_status: Option<State>,
    /// State after.
    pub new_status: State,
    /// Attempts charged after it.
    pub attempts: u32,
    /// Attempts allowed.
    pub max_attempts: u32,
    /// The error code of a failed, cancelled or rescued row, the reason of a skipped one.
    pub reason: Option<String>,
}

/// On whose behalf a row is written: what, with the row before and after, says which transition it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum By<'a> {
    /// A planner made it, or an enqueue.
    Maker,
    /// A claim took it, or ended it unstarted.
    Claimer,
    /// The holder of its lease started it or renewed the lease.
    Holder,
    /// The holder of its lease ended the attempt.
    Settler(&'a Outcome),
    /// A rescue ended or clamped it.
    Rescuer,
    /// An operator cancelled, requeued or triggered it.
    Operator(Option<&'a OperatorName>),
    /// An operator removed it.
    Deleter(Option<&'a OperatorName>),
    /// It was removed as too old.
    Cleaner,
}

/// The event of the transition from `was` to `row`, if it is one and the row's policy wants it told. A new execution
/// has no `was`; that of a requeued one is its last finished generation.
pub fn event(was: Option<&Execution>, row: &Execution, by: By<'_>, now: Timestamp) -> Option<AuditEvent> {
    if row.policy.audit == Audit::Off {
        return None;
    }
    let action = action(was, row, by).filter(|action| row.policy.audit.wants(*action))?;
    let reason = match action {
        AuditAction::Skip => row.skip_reason.map(|reason| reason.as_str().to_owned()),
        AuditAction::Retry | AuditAction::Dead | AuditAction::Cancel | AuditAction::Rescue => {
            row.error.as_ref().map(|error| error.code.as_str().to_owned())
        }
        _ => None,
    };
    Some(AuditEvent {
        key: AuditKey { execution: row.id, generation: row.generation, fence: row.fence, step: step(was, action) },
        at: now,
        job: row.job.clone(),
        scope: row.scope.clone(),
        actor: actor(row, action, by),
        action,
        details: AuditDetails {
            old_status: was.map(|was| was.state),
            new_status: row.state,
            attempts: row.attempt,
            max_attempts: row.policy.max_attempts,
            reason,
        },
    })
}

/// Which transition it is; `None` when it is none.
fn action(was: Option<&Execution>, row: &Execution, by: By<'_>) -> Option<AuditAction> {
    let Some(was) = was else {
        let is_trigger = matches!(by, By::Operator(_));
        return Some(if is_trigger { AuditAction::Trigger } else { AuditAction::Schedule });
    };
    if was.generation != row.generation {
        return Some(AuditAction::Requeue);
    }
    let is_started = |row: &Execution| row.lease.as_ref().is_some_and(|lease| lease.started_at.is_some());
    match (by, row.state) {
        (By::Maker, _) => None,
        (By::Claimer, State::Skipped) => Some(AuditAction::Skip),
        (By::Claimer, _) if was.state == State::Running => Some(AuditAction::Reclaim),
        (By::Claimer, _) => Some(AuditAction::Claim),
        (By::Holder, _) => (is_started(row) && !is_started(was)).then_some(AuditAction::Start),
        (By::Settler(_), State::Succeeded) => Some(AuditAction::Succeeded),
        (By::Settler(_), State::Retryable) => Some(AuditAction::Retry),
        (By::Settler(_), State::Cancelled) => Some(AuditAction::Cancel),
        (By::Settler(Outcome::Snoozed { .. }), State::Scheduled) => Some(AuditAction::Snooze),
        (By::Settler(_), State::Scheduled) => Some(AuditAction::Release),
        (By::Settler(_), _) => Some(AuditAction::Dead),
        (By::Rescuer, state) => state.is_terminal().then_some(AuditAction::Rescue),
        (By::Deleter(_) | By::Cleaner, _) => Some(AuditAction::Delete),
        (By::Operator(_), State::Cancelled) => Some(AuditAction::Cancel),
        (By::Operator(_), _) => {
            (was.cancel_requested_at != row.cancel_requested_at).then_some(AuditAction::CancelRequest)
        }
    }
}

/// Postgres states the same in SQL.
fn step(was: Option<&Execution>, action: AuditAction) -> u8 {
    let was_running = was.is_some_and(|was| was.state == State::Running);
    let was_started =
        was.and_then(|was| was.lease.as_ref()).is_some_and(|lease| was_running && lease.started_at.is_some());
    match action {
        AuditAction::Schedule | AuditAction::Requeue | AuditAction::Trigger => 0,
        AuditAction::Claim | AuditAction::Reclaim => 1,
        AuditAction::CancelRequest if !was_started => 2,
        AuditAction::Start => 3,
        AuditAction::CancelRequest => 4,
        AuditAction::Delete => 7,
        // A held row was ended or put back; one that had been put back was ended.
        _ if was_running => 5,
        _ => 6,
    }
}

/// That a failed row is tried again is the system's rule, not the runner's choice (P-43).
fn actor(row: &Execution, action: AuditAction, by: By<'_>) -> Actor {
    match by {
        By::Operator(name) | By::Deleter(name) => Actor::operator(name),
        By::Claimer | By::Holder | By::Settler(_) => match (&row.lease, action) {
            (_, AuditAction::Retry | AuditAction::Skip) | (None, _) => Actor::system(),
            (Some(lease), _) => Actor::runner(lease.runner),
        },
        By::Maker | By::Rescuer | By::Cleaner => Actor::system(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_actions_are_those_that_are_stored() {
        for action in AuditAction::ALL {
            assert_eq!(serde_json::to_value(action).unwrap(), action.as_str());
            assert_eq!(AuditAction::from_name(action.as_str()), Some(action));
        }
        for (audit, wanted) in [(Audit::Off, 0), (Audit::Exceptions, 9), (Audit::All, AuditAction::ALL.len())] {
            assert_eq!(AuditAction::ALL.into_iter().filter(|action| audit.wants(*action)).count(), wanted);
            assert_eq!(Audit::from_name(audit.as_str()), Some(audit));
        }
    }
}
