//! Owns the verbs: everything a scheduler ever asks of a store, as data.
//!
//! One definition serves the call itself, the wire of the simulation, recorded histories, fault injection between
//! "applied" and "answered", generated test sequences and differential runs. Each verb is one transaction with
//! the database's time inside. Outcomes are per row and in the order of the request.

mod attempt;
mod audit;
mod due;
mod history;
mod item;
mod job;
mod lock;
mod pause;
mod plan;
mod queue;
mod schedule;
mod schema;

pub use attempt::{
    Cancel, CancelOutcomes, CancelRequest, Claim, Claimed, Heartbeat, Renewal, Renewed, Requeue, RequeueOutcome,
    Requeued, Rescue, Rescued, Settle, Settled, Settlement, Start, Started,
};
pub use audit::{AuditPage, ListAudit};
pub use due::{DueRead, ReadDue};
pub use history::{
    ExecutionPage, JobStats, ListExecutions, ListSkipped, Prune, Pruned, ReadStats, SkippedEntry, SkippedPage, Stats,
};
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
pub use plan::{
    Cursor, CursorsRead, JobCursors, Plan, PlanEntry, PlanOutcome, Planned, ReadCursors, Register, RegisterOutcome,
    Registered, Registration, SpecHash,
};
pub use queue::{Counts, Due, Enqueue, EnqueueOutcome, Enqueued, MAX_KEY_BYTES, NewItem, Unique};
pub use schedule::{
    Expected, ListSchedules, MAX_NOTE_BYTES, PutOutcome, PutSchedule, RemoveOutcome, RemoveSchedule, Revision,
    ScheduleData, ScheduleFilter, SchedulePage, SchedulePut, ScheduleRemoved, StoredSchedule,
};
pub use schema::{Migrate, Migrated, SCHEMA_VERSION};

use serde::{Deserialize, Serialize};

use crate::model::{RequestId, Timestamp};

/// Most rows in one batch of any verb.
pub const MAX_BATCH: u32 = 1_000;

/// A verb with the caller's id for this call.
///
/// Repeating the id within the idempotency window returns the first outcome and changes nothing, even when the
/// rows concerned have gone. (A claim is answered by those of its rows that it still holds, as they are now. A claim that
/// found nothing and a lock that was not free leave no trace: repeating the request may find something. And a copy that
/// runs beside its first, uncommitted transmission may find nothing, where a later one gets the first reply.)
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
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

/// As it is kept in [`Verb`] or [`Reply`]: what is large and seldom is in a box, or every claim would take as much room.
macro_rules! kept {
    ($of:ident) => { $of };
    ($of:ident boxed) => { Box<$of> };
}

/// Out of there.
macro_rules! opened {
    ($kept:ident) => {
        $kept
    };
    ($kept:ident boxed) => {
        *$kept
    };
}

macro_rules! verbs {
    ($($(#[$doc:meta])* $verb:ident $([$verb_boxed:ident])? => $reply:ident $([$reply_boxed:ident])? as $name:literal;)*) => {
        /// Any request.
        #[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
        #[serde(rename_all = "snake_case")]
        pub enum Verb { $($(#[$doc])* $verb(kept!($verb $($verb_boxed)?)),)* }

        /// Any reply.
        #[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
        #[serde(rename_all = "snake_case")]
        pub enum Reply { $(#[doc = concat!("To `", $name, "`.")] $reply(kept!($reply $($reply_boxed)?)),)* }

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
                fn from(verb: $verb) -> Self { Self::$verb(verb.into()) }
            }
            impl Operation for $verb {
                type Reply = $reply;
                fn reply(reply: Reply) -> Option<$reply> {
                    match reply { Reply::$reply(reply) => Some(opened!(reply $($reply_boxed)?)), _ => None }
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
    /// Reads which jobs and queues have due rows.
    ReadDue => DueRead as "read_due";
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
    ListExecutions [boxed] => ExecutionPage as "list_executions";
    /// Lists the missed-slot ledger.
    ListSkipped => SkippedPage as "list_skipped";
    /// Lists audit events.
    ListAudit [boxed] => AuditPage as "list_audit";
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
    ListRecent [boxed] => RecentPage as "list_recent";
    /// Stops a job on all replicas.
    PauseJob => JobPaused as "pause_job";
    /// Lets it go on.
    ResumeJob => JobResumed as "resume_job";
    /// Runs a job once, now.
    TriggerJob [boxed] => JobTriggered as "trigger_job";
    /// Lists pauses.
    ListPauses => PausePage as "list_pauses";
    /// Gives a scope a schedule that the database keeps.
    PutSchedule [boxed] => SchedulePut as "put_schedule";
    /// Takes it away.
    RemoveSchedule [boxed] => ScheduleRemoved as "remove_schedule";
    /// Lists schedules that the database keeps.
    ListSchedules [boxed] => SchedulePage as "list_schedules";
    /// Lists items of a queue.
    ListItems [boxed] => ItemPage as "list_items";
    /// Counts items of a queue, live and finished.
    ReadQueueStats => QueueStats [boxed] as "read_queue_stats";
    /// Changes a waiting item.
    UpdateItem => ItemUpdated as "update_item";
    /// Removes items.
    DeleteItems => ItemsDeleted as "delete_items";
    /// Removes old finished items of a queue.
    CleanItems => ItemsCleaned as "clean_items";
}

/// Reads the database clock.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct ReadClock {}

/// The database clock.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct ClockRead {
    /// Now.
    pub now: Timestamp,
}
