//! Owns the race of a request with its own copy: sent twice at once on two connections, answered alike, applied once.

use std::sync::Arc;

use tourbillon::{
    model::{
        Audit, Execution, ExecutionId, Fence, Incarnation, JobName, Json, LeaseRef, NewExecution, Outcome, Policy,
        Reentry, RequestId, Scope, State, Supersede, Timestamp, transition::Charge,
    },
    store::{
        Cancel, Claim, Plan, PlanEntry, ReadClock, Register, Registration, Reply, Request, Requeue, Settle,
        Settlement, SpecHash, Start, Store, Verb,
    },
};

use super::{arena::Arena, log::is_empty_claim, race::seed, work::Chance};

/// Lives of three executions, each from plan to cancel.
const ROUNDS: u64 = 60;

/// Rows of a round.
const ROWS: usize = 3;

struct Twins<'a> {
    arena: &'a Arena,
    chance: Chance,
    /// Copies of a claim that saw its rows locked by the other copy, and found nothing else.
    empty_copies: usize,
}

/// Runs it on two handles of the arena.
pub(crate) async fn run(arena: &Arena) -> Result<(), String> {
    let mut twins = Twins { arena, chance: Chance(seed()), empty_copies: 0 };
    let job = JobName::new("twins").expect("a plain name");
    let registration = Registration {
        job: job.clone(),
        spec_hash: SpecHash("spec".into()),
        schedule_hash: SpecHash("s".into()),
        rules: None,
    };
    twins.once(Register { runner: Incarnation(twins.chance.clone().uuid()), jobs: vec![registration] }).await?;
    let mut expect = None;
    for _ in 0..ROUNDS {
        expect = Some(twins.life(&job, expect).await?);
    }
    let listing = arena.listing().await;
    for row in &listing {
        let expected = if row.generation.0 == 1 { State::Succeeded } else { State::Cancelled };
        if row.state != expected || row.fence != Fence(1) || row.generation.0 > 2 {
            return Err(format!("a request had two effects: {row:?}"));
        }
    }
    if listing.len() != 2 * ROWS * usize::try_from(ROUNDS).unwrap_or(0) {
        return Err(format!("{} generations in the end", listing.len()));
    }
    println!(
        "twins {}: {} requests, each twice at once; {} of {ROUNDS} claims had an empty copy",
        arena.name,
        ROUNDS * 5,
        twins.empty_copies
    );
    Ok(())
}

impl Twins<'_> {
    /// One life of each row; every verb with a receipt is sent twice at once.
    async fn life(&mut self, job: &JobName, expect: Option<Timestamp>) -> Result<Timestamp, String> {
        let Reply::ClockRead(clock) = self.once(ReadClock {}).await? else { return Err("no clock".to_owned()) };
        let slots: Vec<NewExecution> = (0..ROWS).map(|_| row(ExecutionId(self.chance.uuid()), clock.now)).collect();
        let ids: Vec<ExecutionId> = slots.iter().map(|slot| slot.id).collect();
        let entry = PlanEntry {
            job: job.clone(),
            scope: Scope::global(),
            spec_hash: SpecHash("spec".into()),
            schedule_hash: None,
            expect,
            to: clock.now,
            delay_ms: 0,
            slots,
            skipped: Vec::new(),
        };
        self.twice(Plan { entries: vec![entry] }).await?;
        let runner = Incarnation(self.chance.uuid());
        let mut leases: Vec<LeaseRef> = Vec::new();
        // Each copy may lock rows that the other passes over; those of the copy that loses are free again.
        for _ in 0..ROWS {
            let claim = Claim { runner, jobs: vec![job.clone()], limit: 10, charge: Charge::AtStart, rate: None };
            let Reply::Claimed(claimed) = self.twice(claim).await? else { return Err("no claim".to_owned()) };
            leases.extend(claimed.executions.iter().filter_map(Execution::lease_ref));
            if leases.len() == ROWS {
                break;
            }
        }
        if leases.len() != ROWS {
            return Err(format!("{} of {ROWS} rows claimed", leases.len()));
        }
        self.once(Start { leases: leases.clone() }).await?;
        let outcome = Outcome::Succeeded { result: Json::empty(), rows_affected: None };
        let settlement = |lease| Settlement::of(lease, outcome.clone());
        self.twice(Settle { settlements: leases.into_iter().map(settlement).collect() }).await?;
        self.twice(Requeue { ids: ids.clone(), actor: None }).await?;
        self.twice(Cancel { ids, actor: None }).await?;
        Ok(clock.now)
    }

    fn request(&mut self, verb: impl Into<Verb>) -> Request {
        Request { id: RequestId(self.chance.uuid()), verb: verb.into() }
    }

    async fn once(&mut self, verb: impl Into<Verb>) -> Result<Reply, String> {
        let request = self.request(verb);
        self.arena.handles[0].call(request).await.map_err(|error| format!("{error:?}"))
    }

    /// Both copies at once, then a third: all alike. One copy of a claim may be empty, as if it had come first and found
    /// nothing (an empty claim keeps no receipt); the third must be answered like the other.
    async fn twice(&mut self, verb: impl Into<Verb>) -> Result<Reply, String> {
        let request = self.request(verb);
        let copy = |n: usize| {
            let store: Arc<dyn Store> = Arc::clone(&self.arena.handles[n % self.arena.handles.len()]);
            let request = request.clone();
            async move { store.call(request).await }
        };
        let (one, two) = tokio::join!(copy(0), copy(1));
        let third = copy(0).await.map_err(|error| format!("{}: {error:?}", request.verb.name()))?;
        for reply in [one, two] {
            let reply = reply.map_err(|error| format!("{}: {error:?}", request.verb.name()))?;
            if is_empty_claim(&reply) && !is_empty_claim(&third) {
                self.empty_copies += 1;
            } else if reply != third {
                return Err(format!("{} was answered {reply:?} and {third:?}", request.verb.name()));
            }
        }
        Ok(third)
    }
}

fn row(id: ExecutionId, now: Timestamp) -> NewExecution {
    NewExecution {
        id,
        slot_at: None,
        due_at: now,
        expires_at: None,
        priority: 0,
        payload: None,
        unique_key: None,
        policy: Policy {
            max_attempts: 3,
            lease_ms: 60_000,
            reentry: Reentry::Allow,
            supersede: Supersede::Never,
            limit: None,
            audit: Audit::Off,
        },
    }
}
