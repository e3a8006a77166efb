//! Owns the race for a few locks that live for milliseconds, judged from what each call was told: one holder per epoch,
//! epochs that grow by one, and no word to anybody that the rest of the story contradicts (G7).
//!
//! The instants are the database's own, read behind the lock's row, so that they order what happened to one lock.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::task::JoinSet;
use tourbillon::{
    model::{Epoch, Incarnation, LockName, LockRef, RequestId, Timestamp, Token},
    runtime::Runtime,
    store::{AcquireLock, Operation, ReleaseLock, RenewLock, Request, Store},
};

use super::{arena::Arena, enough::Enough, race::seed, work::Chance};

/// Tasks at once.
const TASKS: usize = 12;

/// Few, so that they meet.
const LOCKS: u64 = 3;

/// Times to live: the shortest are over before their holder is told.
const TTLS_MS: [u64; 3] = [1, 20, 600_000];

/// How often each kind of answer has to be met.
const LEAST: usize = 10;

/// What a call was told, and at which instant of the database clock.
#[derive(Clone, Debug)]
enum Told {
    /// Epoch and expiry.
    Acquired(Epoch, Timestamp),
    /// The epoch of the holder, and its expiry.
    HeldBy(Epoch, Timestamp),
    Renewed(Epoch, Timestamp),
    RenewRefused(Epoch),
    Released(Epoch),
    ReleaseRefused(Epoch),
}

#[derive(Clone, Debug)]
struct Call {
    lock: u64,
    now: Timestamp,
    told: Told,
}

struct Actor {
    store: Arc<dyn Store>,
    runtime: Runtime,
    chance: Chance,
    me: Incarnation,
    enough: Arc<Enough<5>>,
    log: Vec<Call>,
    errors: Vec<String>,
}

/// Runs it on the arena's handles; `Err` holds the findings.
pub(crate) async fn run(arena: &Arena, lasting: Duration) -> Result<(), String> {
    let enough = Enough::of([LEAST; 5]);
    let mut tasks = JoinSet::new();
    for number in 0..TASKS {
        let mut chance = Chance(seed() ^ (number as u64).wrapping_mul(0xd6e8_feb8_6659_fd93));
        let mut actor = Actor {
            store: Arc::clone(&arena.handles[number % arena.handles.len()]),
            runtime: Runtime::tokio(),
            me: Incarnation(chance.uuid()),
            chance,
            enough: Arc::clone(&enough),
            log: Vec::new(),
            errors: Vec::new(),
        };
        tasks.spawn(async move {
            while !actor.enough.is_over() && actor.errors.is_empty() {
                actor.contend().await;
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
    findings.extend(judge(&log));
    println!("locks {}: acquired, held by others, renewed, released, refused: {:?}", arena.name, enough.met());
    findings.truncate(12);
    if findings.is_empty() { Ok(()) } else { Err(findings.join("\n")) }
}

impl Actor {
    async fn call<V: Operation>(&mut self, verb: V) -> Option<(RequestId, V::Reply)> {
        let request = Request { id: RequestId(self.chance.uuid()), verb: verb.into() };
        let id = request.id;
        match self.store.call(request).await {
            Ok(reply) => Some((id, V::reply(reply).expect("a verb is answered by its reply"))),
            Err(error) => {
                self.errors.push(format!("{error:?}"));
                None
            }
        }
    }

    fn tell(&mut self, lock: u64, now: Timestamp, told: Told) {
        self.enough.meet(
            match told {
                Told::Acquired(..) => 0,
                Told::HeldBy(..) => 1,
                Told::Renewed(..) => 2,
                Told::Released(_) => 3,
                Told::RenewRefused(_) | Told::ReleaseRefused(_) => 4,
            },
            1,
        );
        self.log.push(Call { lock, now, told });
    }

    /// Tries a lock; its holder renews it a few times, some wait until it is over, and most give it back.
    async fn contend(&mut self) {
        let lock = self.chance.below(LOCKS);
        let name = LockName::new(&format!("lock-{lock}")).expect("a plain name");
        let ttl_ms = TTLS_MS[self.chance.below(TTLS_MS.len() as u64) as usize];
        let Some((id, tried)) = self.call(AcquireLock { name: name.clone(), holder: self.me, ttl_ms }).await else {
            return;
        };
        let held = match tried.outcome {
            Ok(held) => held,
            Err(by) => return self.tell(lock, tried.now, Told::HeldBy(by.epoch, by.expires_at)),
        };
        self.tell(lock, tried.now, Told::Acquired(held.epoch, held.expires_at));
        let own = LockRef { name, token: Token(id.0), epoch: held.epoch };
        for _ in 0..self.chance.below(4) {
            if ttl_ms < 100 && self.chance.below(3) == 0 {
                self.runtime.sleep(Duration::from_millis(ttl_ms)).await;
            }
            let Some((_, renewed)) = self.call(RenewLock { lock: own.clone() }).await else { return };
            let told = renewed.outcome.map_or(Told::RenewRefused(own.epoch), |at| Told::Renewed(own.epoch, at));
            self.tell(lock, renewed.now, told);
        }
        // What lives long has to be given back, or nobody else would have it.
        if ttl_ms < 100 && self.chance.below(3) == 0 {
            return;
        }
        for _ in 0..=self.chance.below(2) {
            let Some((_, released)) = self.call(ReleaseLock { lock: own.clone() }).await else { return };
            let told = released.outcome.map_or(Told::ReleaseRefused(own.epoch), |()| Told::Released(own.epoch));
            self.tell(lock, released.now, told);
        }
    }
}

/// One epoch of one lock, as all calls together tell it.
struct Term {
    from: Timestamp,
    /// Ascending: from when on it lasts until when, unless it is given back.
    lasts: Vec<(Timestamp, Timestamp)>,
    released: Option<Timestamp>,
}

impl Term {
    /// Until when it certainly was held, as far as this instant knows.
    fn expiry_at(&self, now: Timestamp) -> Option<Timestamp> {
        self.lasts.iter().take_while(|(from, _)| *from <= now).last().map(|(_, until)| *until)
    }

    /// Whether it was surely over at this instant. In one instant two calls can have come in either order.
    fn may_be_over(&self, now: Timestamp) -> bool {
        let expired =
            self.lasts.iter().take_while(|(from, _)| *from < now).last().is_none_or(|(_, until)| *until < now);
        expired || self.released.is_some_and(|at| at <= now)
    }

    fn may_be_held(&self, now: Timestamp) -> bool {
        self.from <= now
            && self.expiry_at(now).is_some_and(|until| now <= until)
            && self.released.is_none_or(|at| now <= at)
    }
}

fn judge(log: &[Call]) -> Vec<String> {
    let mut findings = Vec::new();
    let locks: std::collections::BTreeSet<u64> = log.iter().map(|call| call.lock).collect();
    for lock in locks {
        let calls: Vec<&Call> = log.iter().filter(|call| call.lock == lock).collect();
        judge_lock(&calls, &mut findings);
    }
    findings
}

fn judge_lock(calls: &[&Call], findings: &mut Vec<String>) {
    let mut terms: BTreeMap<Epoch, Term> = BTreeMap::new();
    for call in calls {
        if let Told::Acquired(epoch, until) = call.told
            && let Some(other) =
                terms.insert(epoch, Term { from: call.now, lasts: vec![(call.now, until)], released: None })
        {
            findings.push(format!(
                "G7: lock {} was acquired twice in epoch {epoch}: {}, {}",
                call.lock, other.from, call.now
            ));
        }
    }
    for call in calls {
        match call.told {
            Told::Renewed(epoch, until) => {
                if let Some(term) = terms.get_mut(&epoch) {
                    term.lasts.push((call.now, until));
                    term.lasts.sort_unstable();
                }
            }
            Told::Released(epoch) => {
                if let Some(term) = terms.get_mut(&epoch) {
                    term.released = Some(term.released.map_or(call.now, |at| at.min(call.now)));
                }
            }
            _ => {}
        }
    }
    judge_terms(calls, &terms, findings);
    for call in calls {
        let now = call.now;
        let over = |epoch| {
            let next = terms.get(&Epoch(epoch + 1)).is_some_and(|next| next.from <= now);
            next || terms.get(&Epoch(epoch)).is_none_or(|term| term.may_be_over(now))
        };
        let is_so = match call.told {
            Told::Acquired(..) | Told::Released(_) => true,
            Told::HeldBy(epoch, until) => terms
                .get(&epoch)
                .is_some_and(|term| term.may_be_held(now) && term.lasts.iter().any(|(_, at)| *at == until)),
            Told::Renewed(epoch, _) => terms.get(&epoch).is_some_and(|term| {
                let before = term.lasts.iter().take_while(|(from, _)| *from < now).last();
                before.is_none_or(|(_, until)| now <= *until) && term.released.is_none_or(|at| now <= at)
            }),
            Told::RenewRefused(epoch) => over(epoch.0),
            Told::ReleaseRefused(epoch) => terms.get(&Epoch(epoch.0 + 1)).is_some_and(|next| next.from <= now),
        };
        if !is_so {
            findings.push(format!("G7: lock {}: at {now} somebody was told {:?}", call.lock, call.told));
        }
    }
}

/// Epochs are 1, 2, 3 …; each begins when the one before is over, and nothing is told of one after the next has begun.
fn judge_terms(calls: &[&Call], terms: &BTreeMap<Epoch, Term>, findings: &mut Vec<String>) {
    for (expected, (epoch, term)) in (1..).zip(terms) {
        let lock = calls[0].lock;
        if epoch.0 != expected {
            return findings.push(format!("G7: lock {lock} has epoch {epoch}, and not epoch {expected}"));
        }
        let Some(next) = terms.get(&Epoch(expected + 1)) else { continue };
        if next.from < term.from || !term.may_be_over(next.from) {
            findings.push(format!("G7: lock {lock} was taken at {} while epoch {epoch} held it", next.from));
        }
        for call in calls {
            let of = matches!(call.told, Told::Renewed(of, _) if of == *epoch);
            if of && call.now > next.from {
                findings
                    .push(format!("G7: lock {lock} was renewed in epoch {epoch} at {}, after the next", call.now));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(ms: u64) -> Timestamp {
        Timestamp::from_micros(1_800_000_000_000_000 + ms as i64 * 1_000)
    }

    fn told(now: u64, told: Told) -> Call {
        Call { lock: 0, now: at(now), told }
    }

    fn acquired(now: u64, epoch: u64, until: u64) -> Call {
        told(now, Told::Acquired(Epoch(epoch), at(until)))
    }

    #[track_caller]
    fn found(log: &[Call], what: &str) {
        let findings = judge(log);
        assert!(findings.iter().any(|finding| finding.contains(what)), "{findings:?}");
    }

    #[test]
    fn an_orderly_story_has_no_finding() {
        let log = [
            acquired(0, 1, 20),
            told(5, Told::HeldBy(Epoch(1), at(20))),
            told(10, Told::Renewed(Epoch(1), at(30))),
            acquired(31, 2, 51),
            told(32, Told::RenewRefused(Epoch(1))),
            told(33, Told::ReleaseRefused(Epoch(1))),
            told(40, Told::Released(Epoch(2))),
            told(40, Told::Released(Epoch(2))),
            acquired(40, 3, 60),
        ];
        assert_eq!(judge(&log), Vec::<String>::new());
    }

    #[test]
    fn two_holders_in_one_epoch_are_found() {
        found(&[acquired(0, 1, 20), acquired(1, 1, 21)], "twice in epoch 1");
    }

    #[test]
    fn an_epoch_that_is_left_out_is_found() {
        found(&[acquired(0, 1, 20), acquired(30, 3, 50)], "not epoch 2");
    }

    #[test]
    fn a_lock_that_is_taken_from_its_holder_is_found() {
        found(&[acquired(0, 1, 20), acquired(20, 2, 40)], "while epoch 1 held it");
        let renewed = told(10, Told::Renewed(Epoch(1), at(30)));
        found(&[acquired(0, 1, 20), renewed, acquired(25, 2, 45)], "while epoch 1 held it");
    }

    #[test]
    fn a_renewal_of_what_is_over_is_found() {
        found(&[acquired(0, 1, 20), told(21, Told::Renewed(Epoch(1), at(41)))], "Renewed");
        let log = [acquired(0, 1, 20), told(5, Told::Released(Epoch(1))), told(6, Told::Renewed(Epoch(1), at(26)))];
        found(&log, "Renewed");
    }

    #[test]
    fn a_refusal_without_a_reason_is_found() {
        found(&[acquired(0, 1, 20), told(10, Told::RenewRefused(Epoch(1)))], "RenewRefused");
        found(&[acquired(0, 1, 20), told(10, Told::ReleaseRefused(Epoch(1)))], "ReleaseRefused");
        let log = [acquired(0, 1, 20), told(5, Told::Released(Epoch(1))), told(9, Told::HeldBy(Epoch(1), at(20)))];
        found(&log, "HeldBy");
    }
}
