//! A queue's rules and their validation. Every rule has an error of its own that names the queue and the mend.

use std::{collections::BTreeSet, fmt, marker::PhantomData, sync::Arc, time::Duration};

use serde::{Serialize, de::DeserializeOwned};

use super::{
    rate::RateLimit,
    refusal::{QueueError, QueueRule},
};
use crate::{
    job::{AttemptReport, Attempts, BoxError, Completion, Context, Delivery, HandlerError, ReportFn, Work},
    model::{Audit, ExecutionId, JobName, Json, Limit, Policy, Rate, Reentry, Retention, Supersede, wait_ms},
    plan::Backoff,
    store::{BoxFuture, Counts},
};

/// Attempts of a queue that says nothing of them.
const USUAL_ATTEMPTS: u32 = 10;

/// Of a key that counts turns, and no running items.
const NO_LIMIT: u32 = u32::MAX;

/// Items claimed ahead of free workers, usually and at most: those of two claims, so that one runs while the next is on
/// its way.
const MAX_PREFETCH: u32 = 2 * crate::store::MAX_BATCH;

pub(crate) type ProbeFn = Arc<
    dyn Fn(Vec<(ExecutionId, Option<String>)>) -> BoxFuture<'static, Result<BTreeSet<ExecutionId>, BoxError>>
        + Send
        + Sync,
>;
type Handler<T> = Arc<dyn Fn(T, Context) -> BoxFuture<'static, Result<Completion, HandlerError>> + Send + Sync>;

/// What makes an item a duplicate of another (G11). Keys are counted per queue.
pub struct Unique<T> {
    pub(crate) by: By<T>,
    pub(crate) period: Option<Duration>,
    pub(crate) counts: Counts,
}

pub(crate) enum By<T> {
    Payload,
    Key(Arc<dyn Fn(&T) -> String + Send + Sync>),
}

impl<T> Clone for By<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Payload => Self::Payload,
            Self::Key(key) => Self::Key(Arc::clone(key)),
        }
    }
}

impl<T> Clone for Unique<T> {
    fn clone(&self) -> Self {
        Self { by: self.by.clone(), period: self.period, counts: self.counts }
    }
}

impl<T> fmt::Debug for Unique<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unique").field("period", &self.period).field("counts", &self.counts).finish_non_exhaustive()
    }
}

impl<T> Unique<T> {
    /// Equal payloads are duplicates: the key is the SHA-256 of the canonical JSON.
    pub fn by_payload() -> Self {
        Self { by: By::Payload, period: None, counts: Counts::Live }
    }

    /// Items with the same key, of any length, are duplicates.
    pub fn by_key(key: impl Fn(&T) -> String + Send + Sync + 'static) -> Self {
        Self { by: By::Key(Arc::new(key)), period: None, counts: Counts::Live }
    }

    /// Counts per period, in steps from 1970 by the database clock.
    #[must_use]
    pub fn within(self, period: Duration) -> Self {
        Self { period: Some(period), ..self }
    }

    /// Which others count: live ones by default, so that a finished or dead item frees its key.
    #[must_use]
    pub fn counting(self, counts: Counts) -> Self {
        Self { counts, ..self }
    }
}

/// A queue of items of type `T`. Built by chaining; checked when the scheduler, or a producer, is built.
///
/// | rule | default |
/// | --- | --- |
/// | workers | 10 per replica |
/// | batch | as many as there are free workers, and the prefetch |
/// | prefetch | up to 2,000 items, while handlers end faster than the store answers |
/// | poll | as the scheduler's settings say |
/// | delivery | at least once |
/// | run timeout | 60 s |
/// | lease | run timeout + 30 s |
/// | attempts | 10, the first counts; 1 with at most once |
/// | backoff | 10 s, doubled each time up to 48 h, ±10 % |
/// | audit | exceptions |
/// | retain | everything, until it is pruned |
/// | coalescing | no: each enqueue is a request |
/// | time to live, capacity, concurrency, rate, unique | no limit |
///
/// ```
/// use std::time::Duration;
/// use tourbillon::{job::{Context, HandlerError}, queue::{Queue, Unique}};
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Notice { to: String, text: String }
///
/// let queue = Queue::<Notice>::new("notify")
///     .workers(16)
///     .ttl(Duration::from_secs(3600))
///     .capacity(1_000)
///     .unique(Unique::by_payload())
///     .run(|notice: Notice, _: Context| async move {
///         println!("to {}: {}", notice.to, notice.text);
///         Ok::<_, HandlerError>(())
///     });
/// ```
pub struct Queue<T> {
    name: String,
    workers: u32,
    batch: Option<u32>,
    prefetch: u32,
    poll: Option<Duration>,
    attempts: Attempts,
    ttl: Option<Duration>,
    capacity: Option<u64>,
    concurrency: Option<u32>,
    per_key: Option<u32>,
    rate: Option<RateLimit>,
    rate_per_key: Option<RateLimit>,
    priority: i16,
    audit: Audit,
    retain: Retention,
    coalesces: bool,
    unique: Option<Unique<T>>,
    handler: Option<Handler<T>>,
    probe: Option<ProbeFn>,
    reports: Vec<(Told, ReportFn)>,
}

/// Which reports a callback gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Told {
    Success,
    Failure,
    Exhaustion,
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<T: Serialize + DeserializeOwned + Send + 'static> Queue<T> {
    /// A queue of this name, which it shares with no job.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            workers: 10,
            batch: None,
            prefetch: MAX_PREFETCH,
            poll: None,
            attempts: Attempts::default(),
            ttl: None,
            capacity: None,
            concurrency: None,
            per_key: None,
            rate: None,
            rate_per_key: None,
            priority: 0,
            audit: Audit::default(),
            retain: Retention::default(),
            coalesces: false,
            unique: None,
            handler: None,
            probe: None,
            reports: Vec::new(),
        }
    }

    /// A queue with the usual rules of a client for store and forward (P-64): looks every 5 minutes and takes 10 items
    /// at a time, 10 attempts with waits of 5, 10, 20 … 1,280 minutes (±10 %, 42 hours 35 minutes in all), 1,000 live
    /// items, 7 days to the first attempt, equal payloads are duplicates. All can be changed.
    pub fn store_and_forward(name: &str) -> Self {
        Self::new(name)
            .poll_every(Duration::from_secs(300))
            .batch(10)
            .max_attempts(10)
            .backoff(Backoff::exponential(Duration::from_secs(300)))
            .capacity(1_000)
            .ttl(Duration::from_secs(7 * 86_400))
            .unique(Unique::by_payload())
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn waits(&self) -> &Backoff {
        &self.attempts.backoff
    }

    /// Whether it knows what has ended until that is pruned.
    pub(crate) fn forgets(&self) -> bool {
        !self.retain.is_everything()
    }

    /// How long an attempt may run.
    pub(crate) fn longest_run(&self) -> Duration {
        self.attempts.run_timeout
    }

    /// Handlers running at once in one replica, on top of the scheduler's own `max_concurrency`: 1 to 10,000.
    #[must_use]
    pub fn workers(self, workers: u32) -> Self {
        Self { workers, ..self }
    }

    /// Items of one claim at most: 1 to 1,000.
    #[must_use]
    pub fn batch(self, items: u32) -> Self {
        Self { batch: Some(items), ..self }
    }

    /// Items that a replica claims ahead of its free workers at most, while its handlers end faster than the store
    /// answers: 0 to 2,000; 0 switches it off. Default 2,000. Such items wait for milliseconds, their leases are renewed, and
    /// a shutdown gives them back. Only those that can lose an attempt without harm are charged before a worker is
    /// free: should the process die, each of them may have lost its first attempt, never its last, without having run.
    /// With [`Queue::concurrency`] or [`Queue::concurrency_per_key`] none: an item that waits would take a place from
    /// one that could run elsewhere; nor with a rate, whose turns would be used later than they were taken.
    #[must_use]
    pub fn prefetch(self, items: u32) -> Self {
        Self { prefetch: items, ..self }
    }

    /// Looks for due items at least this often; a producer of the same process wakes it at once.
    #[must_use]
    pub fn poll_every(self, interval: Duration) -> Self {
        Self { poll: Some(interval), ..self }
    }

    /// At least once, or at most once.
    #[must_use]
    pub fn delivery(self, delivery: Delivery) -> Self {
        Self { attempts: Attempts { delivery, ..self.attempts }, ..self }
    }

    /// An attempt that runs longer fails with `run_timeout`.
    #[must_use]
    pub fn run_timeout(self, limit: Duration) -> Self {
        Self { attempts: Attempts { run_timeout: limit, ..self.attempts }, ..self }
    }

    /// How long a dead runner keeps its items from others, counted from its last sign of life.
    #[must_use]
    pub fn lease(self, lease: Duration) -> Self {
        Self { attempts: Attempts { lease: Some(lease), ..self.attempts }, ..self }
    }

    /// How often a running attempt renews its lease.
    #[must_use]
    pub fn heartbeat(self, interval: Duration) -> Self {
        Self { attempts: Attempts { heartbeat: Some(interval), ..self.attempts }, ..self }
    }

    /// Charged attempts; the first counts.
    #[must_use]
    pub fn max_attempts(self, attempts: u32) -> Self {
        Self { attempts: Attempts { max: Some(attempts), ..self.attempts }, ..self }
    }

    /// Waits between attempts.
    #[must_use]
    pub fn backoff(self, backoff: Backoff) -> Self {
        Self { attempts: Attempts { backoff, ..self.attempts }, ..self }
    }

    /// An item of which no attempt was started within this is skipped as expired, with a record.
    #[must_use]
    pub fn ttl(self, ttl: Duration) -> Self {
        Self { ttl: Some(ttl), ..self }
    }

    /// Live items that the queue takes; one more is refused as full.
    #[must_use]
    pub fn capacity(self, items: u64) -> Self {
        Self { capacity: Some(items), ..self }
    }

    /// Items running at once, on all replicas together.
    #[must_use]
    pub fn concurrency(self, running: u32) -> Self {
        Self { concurrency: Some(running), ..self }
    }

    /// Items running at once per [`ItemOptions::key`](super::ItemOptions::key), on all replicas together.
    #[must_use]
    pub fn concurrency_per_key(self, running: u32) -> Self {
        Self { per_key: Some(running), ..self }
    }

    /// How often items begin, on all replicas together ([`RateLimit`]). What counts is the claim, of retries too: an item
    /// that is given back before its handler ran has used its turn. Goes with [`Queue::concurrency`], which is about items
    /// that run. It holds for items that a producer with this rule (or with [`Queue::concurrency`]) has enqueued: to put a rate on
    /// a queue that has a backlog, start its producers with it first.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use tourbillon::queue::{Queue, RateLimit};
    /// // At most 100 a minute, and at most 5 at once.
    /// let queue = Queue::<String>::new("mail").rate_limit(RateLimit::per(100, Duration::from_secs(60))).concurrency(5);
    /// ```
    #[must_use]
    pub fn rate_limit(self, rate: RateLimit) -> Self {
        Self { rate: Some(rate), ..self }
    }

    /// The same for the items of each [`ItemOptions::key`](super::ItemOptions::key) by themselves: a tenant, a receiver. Goes
    /// with [`Queue::concurrency_per_key`]. Items without a key are not held up.
    #[must_use]
    pub fn rate_limit_per_key(self, rate: RateLimit) -> Self {
        Self { rate_per_key: Some(rate), ..self }
    }

    /// Lower runs first, before other queues and jobs too; 0 is usual.
    #[must_use]
    pub fn priority(self, priority: i16) -> Self {
        Self { priority, ..self }
    }

    /// Which transitions of its items leave an audit event.
    #[must_use]
    pub fn audit(self, audit: Audit) -> Self {
        Self { audit, ..self }
    }

    /// What is kept of items when their ends are recorded. Default everything, which operators list and requeue, and by
    /// which a producer that repeats an id, or a unique key that counts finished items, finds what was there; a queue
    /// that forgets has none of these for what it forgets. It says nothing of what a rescue, an operator or the time to
    /// live ends: that is kept.
    #[must_use]
    pub fn retain(self, retain: Retention) -> Self {
        Self { retain, ..self }
    }

    /// Lets concurrent callers of [`Enqueuer::enqueue`](super::Enqueuer::enqueue) share requests: what comes while one is
    /// under way goes with the next, as one transaction, and each caller gets the outcome of its own item. Many callers of one
    /// producer, or of its clones, are then as quick as a batch; one alone is as quick as ever. While the database does not
    /// answer, all wait for the same request. An item whose caller ceases to wait may be stored, as without it.
    #[must_use]
    pub fn coalescing(self) -> Self {
        Self { coalesces: true, ..self }
    }

    /// What makes an item a duplicate. Without it none is.
    #[must_use]
    pub fn unique(self, unique: Unique<T>) -> Self {
        Self { unique: Some(unique), ..self }
    }

    /// Asks the receiver, before a batch is started, which of its items it has already (by id and unique key, as
    /// stored). Those succeed without the handler; an error, or no answer within a third of the lease, skips the
    /// batch and charges no attempt (P-66).
    #[must_use]
    pub fn probe<F, Fut>(self, probe: F) -> Self
    where
        F: Fn(Vec<(ExecutionId, Option<String>)>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<BTreeSet<ExecutionId>, BoxError>> + Send + 'static,
    {
        Self { probe: Some(Arc::new(move |items| Box::pin(probe(items)))), ..self }
    }

    /// Called for every success that was recorded. Callbacks must not block.
    #[must_use]
    pub fn on_success(self, told: impl Fn(&AttemptReport) + Send + Sync + 'static) -> Self {
        self.told(Told::Success, told)
    }

    /// Called for every failure that was recorded, the last one of an item included.
    #[must_use]
    pub fn on_failure(self, told: impl Fn(&AttemptReport) + Send + Sync + 'static) -> Self {
        self.told(Told::Failure, told)
    }

    /// Called for a failure that leaves the item dead, before [`Queue::on_failure`] is. An item that a rescue
    /// ends, since its runner is gone, is told by the replica that rescued it; if that one dies too, by nobody.
    #[must_use]
    pub fn on_exhausted(self, told: impl Fn(&AttemptReport) + Send + Sync + 'static) -> Self {
        self.told(Told::Exhaustion, told)
    }

    fn told(mut self, which: Told, told: impl Fn(&AttemptReport) + Send + Sync + 'static) -> Self {
        self.reports.push((which, Arc::new(told)));
        self
    }

    /// What to do with an item. A payload that is no `T` is dead at once, with the error code `payload_invalid`.
    #[must_use]
    pub fn run<F, Fut, R, E>(self, handler: F) -> Self
    where
        F: Fn(T, Context) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, E>> + Send + 'static,
        R: Into<Completion>,
        E: Into<HandlerError>,
    {
        let handler: Handler<T> = Arc::new(move |item, context| {
            let run = handler(item, context);
            Box::pin(async move { run.await.map(Into::into).map_err(Into::into) })
        });
        Self { handler: Some(handler), ..self }
    }

    /// Checks what a producer needs.
    pub(crate) fn producing(&self) -> Result<Producing<T>, QueueError> {
        let name = JobName::new(&self.name).map_err(|error| QueueError::Name(self.name.clone(), error))?;
        let fail = |rule| QueueError::Rule(name.clone(), rule);
        if let Some(rule) = self.broken_rule() {
            return Err(fail(rule));
        }
        let attempts = self.attempts.check(USUAL_ATTEMPTS).map_err(|rule| fail(QueueRule::Attempts(rule)))?;
        let policy = Policy {
            max_attempts: attempts.max,
            lease_ms: wait_ms(attempts.lease),
            reentry: self.attempts.reentry(Reentry::Allow),
            supersede: Supersede::Never,
            limit: self.common_limit(&name),
            audit: self.audit,
        };
        Ok(Producing {
            policy,
            per_key: self.per_key.or(self.rate_per_key.map(|_| NO_LIMIT)),
            ttl_ms: self.ttl.map(wait_ms),
            capacity: self.capacity,
            priority: self.priority,
            unique: self.unique.clone(),
            heartbeat: attempts.heartbeat,
            retain: self.retain,
            coalesces: self.coalesces,
            name,
            item: PhantomData,
        })
    }

    /// Checks everything.
    pub(crate) fn check(self) -> Result<(CheckedQueue, Producing<T>), QueueError> {
        let producing = self.producing()?;
        let name = producing.name.clone();
        let Some(handler) = self.handler else { return Err(QueueError::Rule(name, QueueRule::NoHandler)) };
        let work = Work {
            run_timeout: self.attempts.run_timeout,
            heartbeat: producing.heartbeat,
            backoff: self.attempts.backoff,
            handler: Arc::new(move |context| match decode(context.payload()) {
                Ok(item) => handler(item, context),
                Err(error) => Box::pin(std::future::ready(Err(error))),
            }),
            delivery: self.attempts.delivery,
            retain: self.retain,
            report: report(self.reports),
        };
        let is_limited = producing.policy.limit.is_some() || producing.per_key.is_some();
        // The key that its rows carry: one formula for both.
        let common = producing.policy.limit.as_ref().map(|limit| limit.key.clone());
        let rate = self.rate.map(|rate| rate.rate(common));
        let rate = rate.or(self.rate_per_key.map(|rate| rate.rate(None)));
        let checked = CheckedQueue {
            name,
            work,
            workers: self.workers,
            batch: self.batch.unwrap_or(crate::store::MAX_BATCH),
            // A limit counts what is held, not what runs; and what waits here would begin whenever a worker is free.
            prefetch: if is_limited { 0 } else { self.prefetch },
            rate,
            poll: self.poll,
            probe: self.probe,
        };
        Ok((checked, producing))
    }

    /// What all its items count under.
    fn common_limit(&self, name: &JobName) -> Option<Limit> {
        let max = self.concurrency.or(self.rate.map(|_| NO_LIMIT))?;
        Some(Limit { key: key_of(&[name.as_str()]), max })
    }

    fn broken_rule(&self) -> Option<QueueRule> {
        let rates = [self.rate, self.rate_per_key].into_iter().flatten();
        let has_common = self.concurrency.is_some() || self.rate.is_some();
        let has_keys = self.per_key.is_some() || self.rate_per_key.is_some();
        if let Some(rule) = rates.into_iter().find_map(RateLimit::broken_rule) {
            return Some(rule);
        }
        Some(match self {
            _ if self.workers == 0 || self.workers > 10_000 => QueueRule::Workers(self.workers),
            _ if self.batch.is_some_and(|items| items == 0 || items > crate::store::MAX_BATCH) => QueueRule::Batch,
            _ if self.prefetch > MAX_PREFETCH => QueueRule::Prefetch,
            _ if self.poll.is_some_and(|poll| poll < Duration::from_millis(10)) => QueueRule::Poll,
            _ if self.ttl.is_some_and(|ttl| ttl.is_zero()) => QueueRule::NoTtl,
            _ if self.concurrency == Some(0) || self.per_key == Some(0) => QueueRule::NoRoom,
            _ if has_common && has_keys => QueueRule::TwoKeys,
            _ if self
                .unique
                .as_ref()
                .is_some_and(|unique| unique.period.is_some_and(|period| wait_ms(period) == 0)) =>
            {
                QueueRule::NoPeriod
            }
            _ if !self.retain.is_everything()
                && self.unique.as_ref().is_some_and(|unique| unique.counts != Counts::Live) =>
            {
                QueueRule::CountsForgotten
            }
            _ => return None,
        })
    }
}

/// A JSON array: names and keys may hold any character, so no separator would be safe.
pub(crate) fn key_of(parts: &[&str]) -> String {
    serde_json::json!(parts).to_string()
}

fn decode<T: DeserializeOwned>(payload: Option<&Json>) -> Result<T, HandlerError> {
    serde_json::from_str(payload.map_or("null", Json::as_str)).map_err(|error| {
        let text = format!("the payload is not what this queue's handler takes: {error}");
        HandlerError::new(text).code("payload_invalid").never_retry()
    })
}

/// One function for all callbacks: exhaustion before failure, whatever the order in which they were added.
fn report(mut reports: Vec<(Told, ReportFn)>) -> Option<ReportFn> {
    use crate::model::State::{Dead, Retryable, Succeeded};
    if reports.is_empty() {
        return None;
    }
    reports.sort_by_key(|(told, _)| *told != Told::Exhaustion);
    Some(Arc::new(move |end: &AttemptReport| {
        for (told, call) in &reports {
            let concerned = match told {
                Told::Success => end.state == Succeeded,
                Told::Failure => matches!(end.state, Retryable | Dead),
                Told::Exhaustion => end.state == Dead,
            };
            if concerned {
                call(end);
            }
        }
    }))
}

/// What a worker needs, whatever the type of the items.
#[derive(Clone)]
pub(crate) struct CheckedQueue {
    pub(crate) name: JobName,
    pub(crate) work: Work,
    pub(crate) workers: u32,
    pub(crate) batch: u32,
    pub(crate) prefetch: u32,
    pub(crate) rate: Option<Rate>,
    pub(crate) poll: Option<Duration>,
    pub(crate) probe: Option<ProbeFn>,
}

impl<T> Clone for Producing<T> {
    fn clone(&self) -> Self {
        Self { name: self.name.clone(), policy: self.policy.clone(), unique: self.unique.clone(), ..*self }
    }
}

/// What a producer needs.
pub(crate) struct Producing<T> {
    pub(crate) name: JobName,
    pub(crate) policy: Policy,
    pub(crate) per_key: Option<u32>,
    pub(crate) ttl_ms: Option<u64>,
    pub(crate) capacity: Option<u64>,
    pub(crate) priority: i16,
    /// How often a running attempt renews its lease.
    heartbeat: Duration,
    pub(crate) retain: Retention,
    pub(crate) coalesces: bool,
    pub(crate) unique: Option<Unique<T>>,
    item: PhantomData<fn(T)>,
}
