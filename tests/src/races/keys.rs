//! Owns the race of producers and consumers over few unique keys and little room, judged from what each call was told
//! and when it was sent and answered. Both instants are of one clock, the process's own, whatever the database's says.
//!
//! A *life* begins within the enqueue or requeue that made it and ends within the call that ended it. Between the
//! answer of the one and the sending of the other it was certainly live; from the sending of the one to the answer of
//! the other it may have been.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::task::JoinSet;
use tourbillon::{
    model::{
        Audit, ErrorCode, Execution, ExecutionId, Failure, Generation, Incarnation, JobName, Json, Limit, Outcome,
        Policy, Reentry, RequestId, Retry, Scope, State, Supersede,
        transition::{Cancelled, Charge},
    },
    runtime::{Monotonic, Runtime},
    store::{
        Cancel, Claim, Counts, Due, Enqueue, EnqueueOutcome, NewItem, Operation, Request, Requeue, RequeueOutcome,
        Settle, Settlement, Start, Store, Unique,
    },
};

use super::{
    arena::Arena,
    enough::Enough,
    race::seed,
    work::{Chance, PRUNE},
};

/// Tasks at once; every third consumes.
const TASKS: usize = 12;

/// Few, so that most enqueues meet a live one.
const KEYS: u64 = 4;

/// Live items that the queue takes: fewer than there are producers, so that they meet at the bound, too.
const ROOM: u64 = 6;

/// Running items per limit key.
const RUNNING: u32 = 2;

/// Kinds of outcome that have to be met, and how often.
const MADE: usize = 0;
const DUPLICATES: usize = 1;
const FULL: usize = 2;
const LEAST: [usize; 3] = [20, 20, 5];

/// Pause of a producer that was refused for want of room: without it, refusals are nearly all that a loaded machine does.
const PAUSE: Duration = Duration::from_millis(2);

/// When a call was sent and answered.
#[derive(Clone, Copy, Debug)]
struct Span {
    sent: Monotonic,
    answered: Monotonic,
}

#[derive(Clone, Debug)]
enum Deed {
    /// The item, its key, what became of it.
    Enqueued(ExecutionId, Option<u64>, EnqueueOutcome),
    Claimed(ExecutionId),
    /// It went on to wait.
    GivenBack(ExecutionId),
    Ended(ExecutionId),
    Requeued(ExecutionId, RequeueOutcome),
}

/// One generation of one item.
#[derive(Clone, Debug)]
struct Life {
    id: ExecutionId,
    key: Option<u64>,
    born: Span,
    ended: Option<Span>,
    is_requeued: bool,
}

impl Life {
    fn is_certain_at(&self, at: Monotonic) -> bool {
        self.born.answered < at && self.ended.is_none_or(|ended| at < ended.sent)
    }

    fn overlaps(&self, span: Span) -> bool {
        self.born.sent < span.answered && self.ended.is_none_or(|ended| span.sent < ended.answered)
    }
}

struct Actor {
    store: Arc<dyn Store>,
    runtime: Runtime,
    chance: Chance,
    queue: JobName,
    enough: Arc<Enough<3>>,
    log: Vec<(Span, Deed)>,
    dead: Vec<ExecutionId>,
    errors: Vec<String>,
}

/// Runs it on the arena's handles; `Err` holds the findings.
pub(crate) async fn run(arena: &Arena, lasting: Duration) -> Result<(), String> {
    // One for all: each has a clock that begins when it is made.
    let runtime = Runtime::tokio();
    let enough = Enough::of(LEAST);
    let mut tasks = JoinSet::new();
    for number in 0..TASKS {
        let mut actor = Actor {
            store: Arc::clone(&arena.handles[number % arena.handles.len()]),
            runtime: runtime.clone(),
            chance: Chance(seed() ^ (number as u64).wrapping_mul(0xd6e8_feb8_6659_fd93)),
            queue: JobName::new("orders").expect("a plain name"),
            enough: Arc::clone(&enough),
            log: Vec::new(),
            dead: Vec::new(),
            errors: Vec::new(),
        };
        tasks.spawn(async move {
            while !actor.enough.is_over() && actor.errors.is_empty() {
                if number % 3 == 0 { actor.consume().await } else { actor.produce().await }
            }
            (actor.log, actor.errors)
        });
    }
    let mut findings: Vec<String> = enough.end_after(lasting).await.into_iter().collect();
    let mut log = Vec::new();
    for (calls, errors) in tasks.join_all().await {
        log.extend(calls);
        findings.extend(errors);
    }
    findings.extend(arena.gate_findings().await);
    findings.extend(judge(&log, &arena.listing().await));
    println!("keys {}: enqueued, duplicates, refused as full: {:?}", arena.name, enough.met());
    findings.truncate(12);
    if findings.is_empty() { Ok(()) } else { Err(findings.join("\n")) }
}

impl Actor {
    async fn call<V: Operation>(&mut self, verb: V) -> Option<(Span, V::Reply)> {
        let request = Request { id: RequestId(self.chance.uuid()), verb: verb.into() };
        let sent = self.runtime.monotonic();
        let reply = self.store.call(request).await;
        let span = Span { sent, answered: self.runtime.monotonic() };
        match reply {
            Ok(reply) => Some((span, V::reply(reply).expect("a verb is answered by its reply"))),
            Err(error) => {
                self.errors.push(format!("{error:?}"));
                None
            }
        }
    }

    async fn produce(&mut self) {
        if self.chance.below(6) == 0 && !self.dead.is_empty() {
            let id = self.dead.swap_remove(self.chance.below(self.dead.len() as u64) as usize);
            let Some((span, reply)) = self.call(Requeue { ids: vec![id], actor: None }).await else { return };
            return self.log.push((span, Deed::Requeued(id, reply.outcomes[0])));
        }
        let keys: Vec<_> =
            (0..=self.chance.below(3)).map(|_| Some(self.chance.below(KEYS + 1)).filter(|n| *n < KEYS)).collect();
        let items: Vec<_> = keys.iter().map(|key| self.item(*key)).collect();
        let ids: Vec<_> = items.iter().map(|item| item.id).collect();
        let enqueue = Enqueue { queue: self.queue.clone(), max_items: Some(ROOM), items };
        let Some((span, reply)) = self.call(enqueue).await else { return };
        let is_full = reply.outcomes.contains(&EnqueueOutcome::Full);
        for ((id, key), outcome) in ids.iter().zip(keys).zip(reply.outcomes) {
            self.log.push((span, Deed::Enqueued(*id, key, outcome)));
            self.enough.meet(
                match outcome {
                    EnqueueOutcome::Enqueued(_) => MADE,
                    EnqueueOutcome::Duplicate(_) => DUPLICATES,
                    EnqueueOutcome::Full => FULL,
                },
                1,
            );
            if outcome == EnqueueOutcome::Enqueued(*id) && self.chance.below(8) == 0 {
                self.cancel(*id).await;
            }
        }
        if is_full {
            self.runtime.sleep(PAUSE).await;
        }
    }

    fn item(&mut self, key: Option<u64>) -> NewItem {
        let unique = |key: u64| Unique { key: format!("order {key}"), period_ms: None, counts: Counts::Live };
        NewItem {
            id: ExecutionId(self.chance.uuid()),
            scope: Scope::global(),
            due: Due::AfterMs(0),
            ttl_ms: None,
            priority: 0,
            payload: None,
            unique: key.map(unique),
            policy: Policy {
                max_attempts: 2,
                // Longer than the race: nothing expires, so every end has a call of its own.
                lease_ms: 600_000,
                reentry: Reentry::Allow,
                supersede: Supersede::Never,
                limit: Some(Limit { key: "orders".to_owned(), max: RUNNING }),
                audit: Audit::Exceptions,
            },
            trace: None,
        }
    }

    async fn cancel(&mut self, id: ExecutionId) {
        let Some((span, reply)) = self.call(Cancel { ids: vec![id], actor: None }).await else { return };
        if reply.outcomes[0] == Cancelled::Now {
            self.log.push((span, Deed::Ended(id)));
            self.dead.push(id);
        }
    }

    async fn consume(&mut self) {
        let claim = Claim {
            runner: Incarnation(self.chance.uuid()),
            jobs: vec![self.queue.clone()],
            limit: 3,
            charge: Charge::AtStart,
            rate: None,
        };
        let Some((span, claimed)) = self.call(claim).await else { return };
        let leases: Vec<_> = claimed.executions.iter().filter_map(Execution::lease_ref).collect();
        self.log.extend(leases.iter().map(|lease| (span, Deed::Claimed(lease.id))));
        if self.call(Start { leases: leases.clone() }).await.is_none() {
            return;
        }
        let outcomes: Vec<_> = leases.iter().map(|lease| (*lease, self.outcome())).collect();
        let settlements = outcomes.into_iter().map(|(lease, outcome)| Settlement::of(lease, outcome)).collect();
        let Some((span, settled)) = self.call(Settle { settlements }).await else { return };
        for (lease, outcome) in leases.iter().zip(settled.outcomes) {
            match outcome {
                Ok(state) if state.is_terminal() => {
                    self.log.push((span, Deed::Ended(lease.id)));
                    self.dead.push(lease.id);
                }
                Ok(_) => self.log.push((span, Deed::GivenBack(lease.id))),
                Err(refusal) => self.errors.push(format!("settle of {} refused: {refusal}", lease.id)),
            }
        }
        if self.chance.below(4) == 0 {
            self.call(PRUNE).await;
        }
        // Each consumer's dead are requeued by itself: what it knows of their lives is then in order.
        if let Some(id) = self.dead.pop().filter(|_| self.chance.below(4) == 0)
            && let Some((span, reply)) = self.call(Requeue { ids: vec![id], actor: None }).await
        {
            self.log.push((span, Deed::Requeued(id, reply.outcomes[0])));
        }
    }

    fn outcome(&mut self) -> Outcome {
        let failure = Failure::new(ErrorCode::handler_error(), "it broke");
        match self.chance.below(4) {
            0 | 1 => Outcome::Succeeded { result: Json::empty(), rows_affected: None },
            2 => Outcome::Failed { failure, retry: Retry::AfterMs(0) },
            _ => Outcome::Failed { failure, retry: Retry::Never },
        }
    }
}

fn judge(log: &[(Span, Deed)], end: &[Execution]) -> Vec<String> {
    let mut findings = Vec::new();
    let lives = lives(log, end, &mut findings);
    for (n, life) in lives.iter().enumerate() {
        // At the instant at which the later of two was certainly born, the earlier must not certainly live.
        for other in &lives[n + 1..] {
            let both = life.born.answered.max(other.born.answered);
            let shares = life.key.is_some() && life.key == other.key;
            let alive = |life: &Life| life.ended.is_none_or(|ended| both < ended.sent);
            if shares && alive(life) && alive(other) {
                findings.push(format!("G11: {life:?} and {other:?} were live with one key"));
            }
        }
        let whole = |other: &&Life| other.is_certain_at(life.born.sent) && other.is_certain_at(life.born.answered);
        let room = lives.iter().filter(whole).count() as u64;
        if !life.is_requeued && room >= ROOM {
            findings.push(format!("{life:?} was let in beside {room} others"));
        }
    }
    for (span, deed) in log {
        if let Deed::Enqueued(id, key, EnqueueOutcome::Duplicate(existing)) = deed
            && !lives.iter().any(|life| life.id == *existing && life.key == *key && life.overlaps(*span))
        {
            findings
                .push(format!("G11: {id} is called a duplicate of {existing}, which was not live during {span:?}"));
        }
    }
    findings.extend(crowds(log));
    findings
}

/// G15: from the answer of a claim to the sending of what ended the attempt the item was running.
fn crowds(log: &[(Span, Deed)]) -> Vec<String> {
    let mut claims: BTreeMap<ExecutionId, Vec<Span>> = BTreeMap::new();
    let mut ends: BTreeMap<ExecutionId, Vec<Span>> = BTreeMap::new();
    for (span, deed) in log {
        match deed {
            Deed::Claimed(id) => claims.entry(*id).or_default().push(*span),
            Deed::Ended(id) | Deed::GivenBack(id) => ends.entry(*id).or_default().push(*span),
            _ => {}
        }
    }
    let end_of = |id: &ExecutionId, claim: Span| {
        let later = ends.get(id)?.iter().filter(|end| end.sent >= claim.answered);
        later.map(|end| end.sent).min()
    };
    let runs: Vec<_> =
        claims.iter().flat_map(|(id, spans)| spans.iter().map(move |span| (*span, end_of(id, *span)))).collect();
    let crowd = |at: Monotonic| {
        runs.iter().filter(|(claim, end)| claim.answered <= at && end.is_none_or(|end| at < end)).count()
    };
    let most = runs.iter().map(|(claim, _)| crowd(claim.answered)).max().unwrap_or(0);
    if most > RUNNING as usize { vec![format!("G15: {most} were running at once")] } else { Vec::new() }
}

/// Births in the order of their answers, each with its end: what was told of it, or what the store lists in the end.
fn lives(log: &[(Span, Deed)], end: &[Execution], findings: &mut Vec<String>) -> Vec<Life> {
    let mut lives: Vec<Life> = Vec::new();
    let mut keys = BTreeMap::new();
    let mut births: Vec<_> = log
        .iter()
        .filter_map(|(span, deed)| match deed {
            Deed::Enqueued(id, key, EnqueueOutcome::Enqueued(_)) => {
                keys.insert(*id, *key);
                Some((*id, Generation::FIRST, *span))
            }
            Deed::Requeued(id, RequeueOutcome::Requeued(generation)) => Some((*id, *generation, *span)),
            _ => None,
        })
        .collect();
    births.sort_by_key(|(id, generation, _)| (*id, *generation));
    for (n, (id, generation, born)) in births.iter().enumerate() {
        let next = births.get(n + 1).filter(|(next, ..)| next == id).map(|(_, _, span)| *span);
        let ends = log.iter().filter(|(span, deed)| {
            matches!(deed, Deed::Ended(ended) if ended == id)
                && span.answered >= born.sent
                && next.is_none_or(|next| span.sent <= next.answered)
        });
        let ended = ends.map(|(span, _)| *span).min_by_key(|span| span.sent);
        let listed = end.iter().find(|row| row.id == *id && row.generation == *generation);
        match (listed.map(|row| row.state), ended) {
            (None, _) => findings.push(format!("G5: {id} generation {generation} was acknowledged and is not there")),
            (Some(state), None) if state.is_terminal() && state != State::Cancelled => {
                findings.push(format!("{id} generation {generation} is {state}, which nobody was told"));
            }
            _ => {}
        }
        let is_requeued = *generation != Generation::FIRST;
        let key = keys.get(id).copied().flatten();
        lives.push(Life { id: *id, key, born: *born, ended, is_requeued });
    }
    lives
}
