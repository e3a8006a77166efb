//! The operator's tables and verbs: what its SQL would be. Owns no schedule and no decision when to act.
//!
//! There are two sorts of verbs. Those of the naive operator are what loops without coordination do: a read, and later
//! a write by id that trusts the read. Those of the hardened one are guarded: the condition is part of the write, the
//! time is the database's, and whoever works on a row shows the number of its claim.

mod agents;
mod certificates;
mod discovery;
mod expiry;
mod jobs;
mod life;
mod notices;
mod revocations;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tourbillon::{
    model::Timestamp,
    store::{ErrorKind, StoreError},
};

pub(crate) use agents::{Agent, Check};
pub(crate) use certificates::{Alert, Cert, CertState, expiry_audit};
pub(crate) use discovery::{Discovered, Found, Scan};
pub(crate) use expiry::{Perishable, Shelf};
pub(crate) use jobs::{Job, JobState, MAX_ATTEMPTS, retry_audit};
pub(crate) use life::{CHECKS, RECIPIENTS, SOURCES, TARGETS};
pub(crate) use notices::{Channel, Notice, NoticeState};
pub(crate) use revocations::Crl;

use crate::world::application::Tables;

/// A job that runs this long without a sign of life is taken for dead.
pub(crate) const STALL: Duration = Duration::from_secs(600);
/// An agent that has not reported for this long is offline.
pub(crate) const SILENCE: Duration = Duration::from_secs(300);

/// The caller's own clock, if it trusts that; `None`: the database's.
pub(crate) type AsOf = Option<Timestamp>;

/// Everything the operator asks of its tables.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verb {
    /// Loop 1, naive: reads certificates that end soon and have no job under way, and alerts not yet recorded.
    ReadRenewals { as_of: AsOf },
    /// Loop 1, naive: inserts a job, trusting the read.
    InsertJob { cert: u32 },
    /// Loop 1, naive: records that an alert was sent.
    RecordAlert { alert: Alert },
    /// Loop 1, hardened: inserts the jobs and alert notifications that are missing, each at most once.
    EnsureRenewals {},
    /// Loop 2: takes pending jobs, and with a lease also running ones whose lease has expired.
    ClaimJobs { limit: u32, lease_ms: Option<u64> },
    /// Loop 2: ends a job; with an attempt only if that attempt still has it.
    FinishJob { id: u32, attempt: Option<u32>, issued: bool },
    /// Loop 3: failed jobs with attempts left become pending; with an audit event in the same transaction, or without.
    RetryJobs { audited: bool },
    /// Loops 3 and 8, naive: an audit event in a transaction of its own.
    RecordAudit { audit: Audit },
    /// Loop 4: running jobs that stand still, or whose lease has expired, fail.
    FailStalled { as_of: AsOf },
    /// Loop 5, naive: reads agents that are silent.
    ReadSilentAgents { as_of: AsOf },
    /// Loop 5, naive: sets one offline, trusting the read.
    SetOffline { id: u32 },
    /// Loop 5, hardened: sets those offline that are silent now.
    MarkSilentOffline {},
    /// Loops 6 and 7, naive: reads notifications to send: pending ones, or failed ones that are due.
    ReadNotices { retries: bool, as_of: AsOf },
    /// Loops 6 and 7, hardened: takes notifications to send, under a lease.
    ClaimNotices { retries: bool, limit: u32, lease_ms: u64 },
    /// Loops 6 and 7: records how sending went; with an attempt only if that attempt still has it.
    MarkNotice { id: u32, attempt: Option<u32>, sent: bool },
    /// Loop 8, naive: reads short-lived certificates that have ended.
    ReadEnded { as_of: AsOf },
    /// Loop 8, naive: sets one expired, trusting the read.
    SetExpired { id: u32 },
    /// Loop 8, hardened: sets those expired that have ended now, with their audit events.
    ExpireEnded {},
    /// Loops 9 and 12: stores what a scan found, once per (fingerprint, agent, path).
    StoreFound { found: Vec<Found> },
    /// Loop 12, hardened: reserves a billed call; answers whether it is this caller's to make.
    ReserveCall { source: u32, slot: Timestamp },
    /// Loop 11, naive and hardened: reads the endpoints and how often each has failed.
    ReadChecks {},
    /// Loop 11, naive: records a probe and writes the count that the caller reckoned.
    WriteCheck { id: u32, ok: bool, failures: u32 },
    /// Loop 11, hardened: records the probe of a slot, once, and counts it.
    RecordProbe { id: u32, ok: bool, slot: Timestamp },
    /// Loop 13: reads how many certificates are revoked, and the number of the last list.
    ReadRevocations {},
    /// Loop 13, naive: publishes a list; the last writer wins.
    PublishCrl { number: u64, revoked: u32 },
    /// Loop 13, hardened: publishes the next list, unless a later leader or a larger list has been published.
    PublishNext { epoch: u64, revoked: u32 },
    /// Loops 14 and 15: deletes what has expired.
    DeleteExpired { shelf: Shelf, as_of: AsOf },
}

/// What the operator is told.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reply {
    /// It was done.
    Done,
    /// It was not: the row is not the caller's any more, or somebody was first.
    Refused,
    /// How many rows changed.
    Count(u32),
    /// Ids, ascending.
    Ids(Vec<u32>),
    /// Certificates to renew, and alerts to send.
    Renewals { certs: Vec<u32>, alerts: Vec<Alert> },
    /// (id, attempt) of jobs, ascending.
    Jobs(Vec<(u32, u32)>),
    /// Notifications to send, in the order of their ids.
    Notices(Vec<Sending>),
    /// Jobs that were retried, as audit events say it.
    Retried(Vec<Audit>),
    /// (id, failures) of endpoints, ascending.
    Checks(Vec<(u32, u32)>),
    /// The state of revocation.
    Revocations { number: u64, revoked: u32 },
    /// The number under which a list was published.
    Published(u64),
}

/// A notification to send.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Sending {
    /// Which.
    pub(crate) id: u32,
    /// Where to.
    pub(crate) channel: Channel,
    /// What its receiver counts by.
    pub(crate) key: String,
    /// The attempt that the claim made it; of naive reads, how often it has failed.
    pub(crate) attempt: u32,
}

/// An audit event: which row went which way, for the n-th time.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub(crate) struct Audit {
    /// For example `job 3`.
    pub(crate) subject: String,
    /// For example `job_retry`.
    pub(crate) action: String,
    /// Tells repetitions of the same edge apart.
    pub(crate) nth: u32,
}

/// What a transaction changed. Rows that only life outside changes are left out.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Change {
    /// A certificate changed state.
    Cert { id: u32, from: CertState, to: CertState },
    /// A job was inserted (`from` is `None`) or changed state. `began_at`: start of the attempt that it was in.
    Job { id: u32, cert: u32, from: Option<JobState>, to: JobState, attempt: u32, began_at: Option<Timestamp> },
    /// An alert was recorded.
    Alert { alert: Alert },
    /// An agent was set offline; when it last reported.
    Offline { id: u32, reported_at: Timestamp },
    /// A notification was inserted or changed state.
    Notice { id: u32, key: String, from: Option<NoticeState>, to: NoticeState, attempt: u32 },
    /// A discovered row was inserted.
    Discovered { row: Discovered },
    /// A billed call was reserved.
    Reserved { source: u32, slot: Timestamp },
    /// A probe was recorded.
    Probe { id: u32, ok: bool, failures: u32 },
    /// A list was published over the one before it.
    Crl { before: Crl, after: Crl },
    /// A row was deleted that expired then.
    Deleted { shelf: Shelf, id: u32, expires_at: Timestamp },
    /// An audit event was written.
    Audit { audit: Audit },
}

/// All tables of the operator.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Operator {
    life: life::Life,
    /// Certificates.
    pub(crate) certs: std::collections::BTreeMap<u32, Cert>,
    /// Renewal jobs.
    pub(crate) jobs: std::collections::BTreeMap<u32, Job>,
    /// Alerts recorded as sent.
    pub(crate) alerts: Vec<Alert>,
    /// Agents.
    pub(crate) agents: std::collections::BTreeMap<u32, Agent>,
    /// Notifications.
    pub(crate) notices: std::collections::BTreeMap<u32, Notice>,
    /// What scans found.
    pub(crate) discovered: Vec<Discovered>,
    /// Billed calls that were reserved.
    pub(crate) reserved: Vec<Scan>,
    /// Endpoints.
    pub(crate) checks: std::collections::BTreeMap<u32, Check>,
    /// How many certificates are revoked: the first so many of the list of all revocations, which only grows.
    pub(crate) revoked: u32,
    /// The revocation list that is published.
    pub(crate) crl: Crl,
    /// ACME rows, sessions and keys.
    pub(crate) shelves: Vec<Perishable>,
    next_job: u32,
    next_notice: u32,
}

impl Operator {
    /// The tables at the start of a run with this seed, at `epoch` by the database clock.
    pub(crate) fn new(seed: u64, epoch: Timestamp) -> Self {
        let mut operator = Self {
            life: life::Life::new(seed, epoch),
            certs: Default::default(),
            jobs: Default::default(),
            alerts: Vec::new(),
            agents: Default::default(),
            notices: Default::default(),
            discovered: Vec::new(),
            reserved: Vec::new(),
            checks: Default::default(),
            revoked: 0,
            crl: Crl::default(),
            shelves: Vec::new(),
            next_job: 0,
            next_notice: 0,
        };
        operator.found(seed, epoch);
        operator
    }
}

impl Tables for Operator {
    type Verb = Verb;
    type Reply = Reply;
    type Change = Change;

    fn apply(&mut self, now: Timestamp, verb: Verb, changes: &mut Vec<Change>) -> Result<Reply, StoreError> {
        self.live_until(now);
        match verb {
            Verb::ReadRenewals { as_of } => self.read_renewals(as_of.unwrap_or(now)),
            Verb::InsertJob { cert } => self.insert_job(cert, changes),
            Verb::RecordAlert { alert } => self.record_alert(alert, changes),
            Verb::EnsureRenewals {} => self.ensure_renewals(now, changes),
            Verb::ClaimJobs { limit, lease_ms } => self.claim_jobs(now, limit, lease_ms, changes),
            Verb::FinishJob { id, attempt, issued } => self.finish_job(now, id, attempt, issued, changes),
            Verb::RetryJobs { audited } => self.retry_jobs(audited, changes),
            Verb::RecordAudit { audit } => {
                changes.push(Change::Audit { audit });
                Ok(Reply::Done)
            }
            Verb::FailStalled { as_of } => self.fail_stalled(as_of.unwrap_or(now), changes),
            Verb::ReadSilentAgents { as_of } => self.read_silent(as_of.unwrap_or(now)),
            Verb::SetOffline { id } => self.set_offline(id, changes),
            Verb::MarkSilentOffline {} => self.mark_silent_offline(now, changes),
            Verb::ReadNotices { retries, as_of } => self.read_notices(as_of.unwrap_or(now), retries),
            Verb::ClaimNotices { retries, limit, lease_ms } => {
                self.claim_notices(now, retries, (limit, lease_ms), changes)
            }
            Verb::MarkNotice { id, attempt, sent } => self.mark_notice(now, id, attempt, sent, changes),
            Verb::ReadEnded { as_of } => self.read_ended(as_of.unwrap_or(now)),
            Verb::SetExpired { id } => self.set_expired(id, changes),
            Verb::ExpireEnded {} => self.expire_ended(now, changes),
            Verb::StoreFound { found } => self.store_found(found, changes),
            Verb::ReserveCall { source, slot } => self.reserve_call(source, slot, changes),
            Verb::ReadChecks {} => self.read_checks(),
            Verb::WriteCheck { id, ok, failures } => self.write_check(id, ok, failures, changes),
            Verb::RecordProbe { id, ok, slot } => self.record_probe(id, ok, slot, changes),
            Verb::ReadRevocations {} => self.read_revocations(),
            Verb::PublishCrl { number, revoked } => self.publish_crl(number, revoked, changes),
            Verb::PublishNext { epoch, revoked } => self.publish_next(epoch, revoked, changes),
            Verb::DeleteExpired { shelf, as_of } => self.delete_expired(shelf, as_of.unwrap_or(now), changes),
        }
    }
}

/// What a verb returns.
type Told = Result<Reply, StoreError>;

fn no_row(what: &str, id: u32) -> StoreError {
    StoreError::new(ErrorKind::Invalid, format!("there is no {what} {id}"))
}

fn count(rows: usize) -> Reply {
    Reply::Count(u32::try_from(rows).unwrap_or(u32::MAX))
}

fn after(at: Timestamp, wait: Duration) -> Timestamp {
    at.offset_micros(i64::try_from(wait.as_micros()).unwrap_or(i64::MAX))
}
