//! Owns the verbs: everything a scheduler ever asks of a store, as data.
//!
//! One definition serves the call itself, the wire of the simulation, recorded histories, fault injection between
//! "applied" and "answered", generated test sequences and differential runs. Each verb is one transaction with
//! the database's time inside. Outcomes are per row and in the order of the request.

mod audit;
mod item;
mod job;
mod lock;
mod pause;
mod queue;
mod schema;

use std::{collections::BTreeMap, fmt, sync::Arc};

pub use audit::{AuditPage, ListAudit};
pub use item::{
    CleanItems, DeleteItems, DeleteOutcome, Direction, DueFilter, ItemOrder, ItemPage, ItemUpdated, ItemsCleaned,
    ItemsDeleted, ListItems, Lives, QueueStats, ReadQueueStats, UpdateItem, UpdateOutcome,
};
pub use job::{
    JobEntry, JobPage, ListJobs, ListRecent, ListScopes, RecentPage, RegisteredRules, ScopeEntry, ScopePage, Success,
};
pub use lock::{AcquireLock, ListLocks, LockPage, LockReleased, LockRenewed, LockTried, ReleaseLock, RenewLock};
pub use pause::{
    JobPaused, JobResumed, JobTriggered, ListPauses, PauseFilter, PauseJob, PauseOutcome, PausePage, ResumeJob,
    ResumeOutcome, TriggerJob, TriggerOutcome,
};

use serde::{Deserialize, Serialize};

use crate::model::{
    Execution, ExecutionId, Generation, Incarnation, JobName, LeaseRef, LockName, NewExecution, OperatorName,
    Outcome, Pause, RequestId, Scope, SkipReason, SkippedSlots, State, Timestamp,
    transition::{Cancelled, Charge, Refusal},
};

pub use schema::{Migrate, Migrated, SCHEMA_VERSION};

pub use queue::{Counts, Due, Enqueue, EnqueueOutcome, Enqueued, MAX_KEY_BYTES, NewItem, Unique};

/// A verb with the caller's id for this call.
///
/// Repeating the id within the idempotency window returns the first outcome and changes nothing, even when the
/// rows concerned have gone. (A claim is answered by those of its rows that it still holds, as they are now. A claim that
/// found nothing and a lock that was not free leave no trace: repeating the request may find something. And a copy that
/// runs beside its first, uncommitted transmission may find nothing, where a later one gets the first reply.)
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Request {
    /// New for every call, kept for every repetition of it.
    pub id: RequestId,
    /// What to do.
    pub verb: Verb,
}

/// Links a verb's request to its reply type.
pub trait Operation: Into<Verb> + Clone + Send + 'static {
    /// What the store answers.
    type Reply: Send + 'static;

    /// The typed reply, or `None` if the store answered another verb.
    fn reply(reply: Reply) -> Option<Self::Reply>;
}

macro_rules! verbs {
    ($($(#[$doc:meta])* $verb:ident => $reply:ident as $name:literal;)*) => {
        /// Any request.
        #[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
        #[serde(rename_all = "snake_case")]
        pub enum Verb { $($(#[$doc])* $verb($verb),)* }

        /// Any reply.
        #[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
        #[serde(rename_all = "snake_case")]
        pub enum Reply { $(#[doc = concat!("To `", $name, "`.")] $reply($reply),)* }

        impl Verb {
            /// Names of all verbs, in the order of definition.
            pub const NAMES: &'static [&'static str] = &[$($name,)*];

            /// The verb's name, as used in fault plans and histories.
            pub const fn name(&self) -> &'static str {
                match self { $(Self::$verb(_) => $name,)* }
            }
        }

        $(
            impl From<$verb> for Verb {
                fn from(verb: $verb) -> Self { Self::$verb(verb) }
            }
            impl Operation for $verb {
                type Reply = $reply;
                fn reply(reply: Reply) -> Option<$reply> {
                    match reply { Reply::$reply(reply) => Some(reply), _ => None }
                }
            }
        )*
    };
}

verbs! {
    /// Brings the schema up to date, one step a request.
    Migrate => Migrated as "migrate";
    /// Reads the database clock.
    ReadClock => ClockRead as "read_clock";
    /// Makes job specs known; the latest registration wins.
    Register => Registered as "register";
    /// Reads how far each schedule is planned.
    ReadCursors => CursorsRead as "read_cursors";
    /// Moves cursors by compare-and-set and inserts their slots.
    Plan => Planned as "plan";
    /// Makes items of a queue.
    Enqueue => Enqueued as "enqueue";
    /// Takes leases on due rows.
    Claim => Claimed as "claim";
    /// Charges attempts just before their handlers run.
    Start => Started as "start";
    /// Renews leases.
    Heartbeat => Renewed as "heartbeat";
    /// Ends attempts.
    Settle => Settled as "settle";
    /// Ends expired rows that no claim may take, and undoes the effects of a database clock that stepped back.
    Rescue => Rescued as "rescue";
    /// Cancels, or asks running handlers to stop.
    Cancel => CancelOutcomes as "cancel";
    /// Gives finished executions another life.
    Requeue => Requeued as "requeue";
    /// Lists live and finished executions.
    ListExecutions => ExecutionPage as "list_executions";
    /// Lists the missed-slot ledger.
    ListSkipped => SkippedPage as "list_skipped";
    /// Lists audit events.
    ListAudit => AuditPage as "list_audit";
    /// Counts live executions.
    ReadStats => Stats as "read_stats";
    /// Deletes old history, ledger entries and receipts.
    Prune => Pruned as "prune";
    /// Tries to take a lock.
    AcquireLock => LockTried as "acquire_lock";
    /// Holds a lock for longer.
    RenewLock => LockRenewed as "renew_lock";
    /// Gives a lock back.
    ReleaseLock => LockReleased as "release_lock";
    /// Lists locks.
    ListLocks => LockPage as "list_locks";
    /// Lists registered jobs.
    ListJobs => JobPage as "list_jobs";
    /// Lists the scopes of a job.
    ListScopes => ScopePage as "list_scopes";
    /// Lists executions, those that changed last first.
    ListRecent => RecentPage as "list_recent";
    /// Stops a job on all replicas.
    PauseJob => JobPaused as "pause_job";
    /// Lets it go on.
    ResumeJob => JobResumed as "resume_job";
    /// Runs a job once, now.
    TriggerJob => JobTriggered as "trigger_job";
    /// Lists pauses.
    ListPauses => PausePage as "list_pauses";
    /// Lists items of a queue.
    ListItems => ItemPage as "list_items";
    /// Counts items of a queue, live and finished.
    ReadQueueStats => QueueStats as "read_queue_stats";
    /// Changes a waiting item.
    UpdateItem => ItemUpdated as "update_item";
    /// Removes items.
    DeleteItems => ItemsDeleted as "delete_items";
    /// Removes old finished items of a queue.
    CleanItems => ItemsCleaned as "clean_items";
}

/// Reads the database clock.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct ReadClock {}

/// The database clock.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct ClockRead {
    /// Now.
    pub now: Timestamp,
}

/// Fingerprint of (part of) a job spec.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SpecHash(pub Arc<str>);

impl fmt::Display for SpecHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for SpecHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Makes job specs known. An edited schedule makes no slot before the edit (G6): its cursors move to now, and the
/// slots that the old schedule had not planned yet are recorded as skipped.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Register {
    /// Who registers.
    pub runner: Incarnation,
    /// The jobs, each at most once.
    pub jobs: Vec<Registration>,
}

/// One job's registration.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Registration {
    /// The job.
    pub job: JobName,
    /// Of everything; an incarnation whose hash is no longer the registered one stops planning the job.
    pub spec_hash: SpecHash,
    /// Of what decides slot times only.
    pub schedule_hash: SpecHash,
    /// The rules, for operators; `None` when whoever registers does not say.
    pub rules: Option<RegisteredRules>,
}

/// Reply to [`Register`].
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Registered {
    /// One per job, in order.
    pub outcomes: Vec<RegisterOutcome>,
}

/// What a registration found.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
pub enum RegisterOutcome {
    /// First of its name.
    New,
    /// Same spec as before.
    Unchanged,
    /// Another spec, same slots.
    PolicyChanged,
    /// Other slots from now on.
    ScheduleChanged,
}

/// Reads the cursors of these jobs.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct ReadCursors {
    /// The jobs.
    pub jobs: Vec<JobName>,
}

/// Reply to [`ReadCursors`].
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct CursorsRead {
    /// The database clock.
    pub now: Timestamp,
    /// One per job asked for, in order.
    pub jobs: Vec<JobCursors>,
}

/// How far one job is planned.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct JobCursors {
    /// The job.
    pub job: JobName,
    /// Of the latest registration; `None` when never registered.
    pub spec_hash: Option<SpecHash>,
    /// When the schedule was last edited, or the job resumed: no slot at or before it is made.
    pub edited_at: Option<Timestamp>,
    /// Its pauses in force, ordered by scope, that of the whole job first: what they hold is not planned.
    pub pauses: Vec<Pause>,
    /// One per scope that was ever planned, ordered by scope.
    pub cursors: Vec<Cursor>,
}

/// How far one (job, scope) is planned.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Cursor {
    /// The scope.
    pub scope: Scope,
    /// Every slot at or before this is made or recorded as skipped.
    pub at: Timestamp,
    /// Largest `at` ever: after the database clock stepped back, `at` follows it, and slots up to here are made
    /// only if they do not exist (G6).
    pub high_water: Timestamp,
    /// Newest slot made, unless it lies in a withdrawn future: what supersedes older ones.
    pub newest_slot: Option<Timestamp>,
    /// Of the schedule that this scope has to itself; `None` when it has that of its job.
    pub schedule_hash: Option<SpecHash>,
    /// When the scope's own schedule came, changed or went, or the scope was resumed; `None` when none of it ever was.
    pub edited_at: Option<Timestamp>,
}

/// Moves cursors and makes slots: one compare-and-set per entry, with the slots in the same transaction.
///
/// A scope may have a schedule to itself, which comes, changes and goes at run time, without a registration. An entry
/// whose schedule is not the one that the cursor was planned by is an edit of that scope, and of nothing else: see
/// [`PlanOutcome::ScheduleChanged`].
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Plan {
    /// At most one entry per (job, scope).
    pub entries: Vec<PlanEntry>,
}

/// One (job, scope) to move.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct PlanEntry {
    /// The job.
    pub job: JobName,
    /// The scope.
    pub scope: Scope,
    /// The planner's spec; must still be the registered one.
    pub spec_hash: SpecHash,
    /// Of the schedule that this scope has to itself; `None` when it has that of its job.
    pub schedule_hash: Option<SpecHash>,
    /// The cursor the planner saw.
    pub expect: Option<Timestamp>,
    /// Where it moves to.
    pub to: Timestamp,
    /// A slot at t is due at t + delay; the store checks `to + delay ≤ now` itself.
    pub delay_ms: u64,
    /// Slots to make, oldest first; each has a slot time ≤ `to`.
    pub slots: Vec<NewExecution>,
    /// Slots not made, with reasons, oldest first.
    pub skipped: Vec<SkippedSlots>,
}

/// Reply to [`Plan`].
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Planned {
    /// The database clock.
    pub now: Timestamp,
    /// One per entry, in order.
    pub outcomes: Vec<PlanOutcome>,
}

/// What became of one entry.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
pub enum PlanOutcome {
    /// The cursor moved; these were inserted (slots that existed already are left out).
    Made(Vec<ExecutionId>),
    /// The scope had another schedule. It has this one from now on, and no slot at or before now (G6): the cursor
    /// stands at now, what the other had not planned is recorded as skipped, and nothing of the entry was made.
    ScheduleChanged,
    /// Another planner moved the cursor first; it is here now.
    CursorMoved(Option<Timestamp>),
    /// Another spec was registered; stop planning this job.
    SpecSuperseded,
    /// The database clock is not there yet (it stepped back after the planner read it).
    NotDue,
    /// The job or the scope is paused; nothing was made, and the cursor stays.
    Paused,
}

/// Takes leases on up to `limit` due rows, ordered by (priority, claimable since, id).
///
/// The first `limit` due rows whose overlap limit leaves room are looked at; late and superseded ones among them
/// end as skipped; of several rows with one limit key only as many are taken as there is room.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Claim {
    /// Who claims.
    pub runner: Incarnation,
    /// Which jobs it can run.
    pub jobs: Vec<JobName>,
    /// 1 to [`MAX_BATCH`].
    pub limit: u32,
    /// When the attempts are charged.
    pub charge: Charge,
}

/// Most rows in one batch of any verb.
pub const MAX_BATCH: u32 = 1_000;

/// Reply to [`Claim`]. The token of every row is the request id.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Claimed {
    /// The database clock.
    pub now: Timestamp,
    /// Rows taken, in claim order, as they are after the claim.
    pub executions: Vec<Execution>,
    /// Rows ended unstarted, in claim order.
    pub skipped: Vec<(ExecutionId, SkipReason)>,
}

/// Charges attempts. A handler must not run before its row's start is known to be durable.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Start {
    /// Rows, each at most once.
    pub leases: Vec<LeaseRef>,
}

/// Reply to [`Start`].
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Started {
    /// The database clock.
    pub now: Timestamp,
    /// One per row, in order: the number of the attempt, from 1.
    pub outcomes: Vec<Result<u32, Refusal>>,
}

/// Renews leases.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Heartbeat {
    /// Rows, each at most once.
    pub leases: Vec<LeaseRef>,
}

/// Reply to [`Heartbeat`].
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Renewed {
    /// The database clock.
    pub now: Timestamp,
    /// One per row, in order.
    pub outcomes: Vec<Result<Renewal, Refusal>>,
}

/// A renewed lease.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Renewal {
    /// New expiry, by the database clock.
    pub expires_at: Timestamp,
    /// An operator asks the handler to stop.
    pub cancel: CancelRequest,
}

/// Whether an operator wants a running handler to stop.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
pub enum CancelRequest {
    /// No.
    None,
    /// Yes.
    Requested,
}

/// Ends attempts.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Settle {
    /// Rows, each at most once.
    pub settlements: Vec<Settlement>,
}

/// One attempt's end.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Settlement {
    /// The row and the claim it ends.
    pub lease: LeaseRef,
    /// How.
    pub outcome: Outcome,
}

/// Reply to [`Settle`].
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Settled {
    /// The database clock.
    pub now: Timestamp,
    /// One per row, in order: the state it went to.
    pub outcomes: Vec<Result<State, Refusal>>,
}

/// Ends up to `limit` expired rows that no claim may take, oldest expiry first. When the database clock is before
/// the last rescue's, waits written in the withdrawn future are shortened to what they were meant to last.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Rescue {
    /// 1 to [`MAX_BATCH`].
    pub limit: u32,
}

/// Reply to [`Rescue`].
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Rescued {
    /// The database clock.
    pub now: Timestamp,
    /// Rows ended, ordered by (lease expiry, id), with the state they went to.
    pub ended: Vec<(ExecutionId, State)>,
    /// Rows moved back to the present, ordered by id.
    pub clamped: Vec<ExecutionId>,
    /// Locks moved back to the present, ordered by name.
    pub clamped_locks: Vec<LockName>,
}

/// Cancels executions.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Cancel {
    /// Rows, each at most once.
    pub ids: Vec<ExecutionId>,
    /// Who asks, for audit events; `None`: "operator".
    pub actor: Option<OperatorName>,
}

/// Reply to [`Cancel`].
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct CancelOutcomes {
    /// One per id, in order.
    pub outcomes: Vec<Cancelled>,
}

/// Gives finished executions another life, due at once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Requeue {
    /// Rows, each at most once.
    pub ids: Vec<ExecutionId>,
    /// Who asks, for audit events; `None`: "operator".
    pub actor: Option<OperatorName>,
}

/// Reply to [`Requeue`].
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Requeued {
    /// One per id, in order.
    pub outcomes: Vec<RequeueOutcome>,
}

/// What became of one requeue.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
pub enum RequeueOutcome {
    /// Scheduled again under this generation.
    Requeued(Generation),
    /// It has not ended yet.
    StillLive,
    /// A live execution has its unique key (G11).
    Conflict,
    /// No such execution.
    NotFound,
}

/// Lists executions, live and finished, ordered by (id, generation).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug, Default)]
pub struct ListExecutions {
    /// Only this job.
    pub job: Option<JobName>,
    /// Only this execution (all its generations).
    pub id: Option<ExecutionId>,
    /// Only these states; empty: all.
    pub states: Vec<State>,
    /// Continue behind this one.
    pub after: Option<(ExecutionId, Generation)>,
    /// 1 to [`MAX_BATCH`].
    pub limit: u32,
}

/// Reply to [`ListExecutions`].
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct ExecutionPage {
    /// The database clock.
    pub now: Timestamp,
    /// The rows; fewer than `limit` means that these are the last.
    pub executions: Vec<Execution>,
}

/// Lists the missed-slot ledger, ordered by (job, scope, after, through, reason).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct ListSkipped {
    /// Only this job.
    pub job: Option<JobName>,
    /// How many to pass over.
    pub offset: u32,
    /// 1 to [`MAX_BATCH`].
    pub limit: u32,
}

/// Reply to [`ListSkipped`].
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct SkippedPage {
    /// The entries; fewer than `limit` means that these are the last.
    pub entries: Vec<SkippedEntry>,
}

/// One entry of the missed-slot ledger.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct SkippedEntry {
    /// The job.
    pub job: JobName,
    /// The scope.
    pub scope: Scope,
    /// Which slots, and why.
    pub slots: SkippedSlots,
    /// When it was recorded.
    pub recorded_at: Timestamp,
}

/// Counts live executions.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct ReadStats {}

/// Reply to [`ReadStats`].
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Stats {
    /// The database clock.
    pub now: Timestamp,
    /// Jobs with at least one live execution.
    pub jobs: BTreeMap<JobName, JobStats>,
}

/// Live executions of one job.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug, Default)]
pub struct JobStats {
    /// Waiting for their first attempt, or given back.
    pub scheduled: u64,
    /// Claimed.
    pub running: u64,
    /// Waiting for another attempt.
    pub retryable: u64,
    /// Oldest instant since which a row could have been claimed.
    pub oldest_claimable_at: Option<Timestamp>,
}

/// Deletes what is older than a bound: history by finish, ledger by record, audit events by their instant, receipts by
/// request. Up to `limit` rows of each, oldest first.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Prune {
    /// Finished executions, ledger entries and audit events older than this many milliseconds go.
    pub history_ms: u64,
    /// Receipts older than this go: the idempotency window.
    pub receipts_ms: u64,
    /// 1 to [`MAX_BATCH`].
    pub limit: u32,
}

/// Reply to [`Prune`].
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Pruned {
    /// Finished executions deleted.
    pub executions: u64,
    /// Ledger entries deleted.
    pub skipped: u64,
    /// Audit events deleted.
    pub audit: u64,
    /// Receipts deleted.
    pub receipts: u64,
}
