//! Takes due rows for as many handlers as there is room, charges them, and hands them to runners.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use super::{
    Shared,
    ahead::Ready,
    poller::spread,
    queue::{self, Crew},
    runner,
    settler::{self, Settler},
    stop::Stage,
    worker,
};
use crate::{
    job::{Attempt, Run},
    model::{Execution, ExecutionId, LeaseRef},
    runtime::{Monotonic, first},
    store::{Claim, Claimed, ErrorKind, Start, StoreError},
};

/// How long a claim, or a look, whose outcome is unknown is asked about again. Rows that it took wait meanwhile; after that
/// they expire and are claimed again at no charge.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// For how long a crew hears no notice after a claim that failed, or whose rows it gave back. That it did is noticed by
/// all, and whoever took them again at once would give them back again, and so on for as long as the reason lasts.
const DEAF: Duration = Duration::from_secs(5);

pub(super) async fn run(shared: Arc<Shared>, settler: Settler, crew: Arc<Crew>) {
    while !shared.stop.has_reached(Stage::Drain) {
        if first(room(&crew), shared.stop.reached(Stage::Drain)).await.is_err() {
            break;
        }
        let (deaf, turn) = match claim(&shared, &settler, &crew).await {
            Ok(Found::More) => continue,
            Ok(Found::Nothing) => (None, None),
            Ok(Found::Shut(wait)) => (None, Some(wait)),
            Ok(Found::Unwanted) => (Some(DEAF), None),
            Err(error) => {
                sometimes!("a claim fails for good");
                tracing::warn!(%error, "claim failed; trying again");
                (Some(DEAF), None)
            }
        };
        if wait(&shared, &crew, deaf, turn).await.is_err() {
            break;
        }
    }
    let left: Vec<LeaseRef> = crew.ahead.take_all().into_iter().map(|ready| ready.held.lease).collect();
    sometimes!("a drain gives back rows that waited for a worker", !left.is_empty());
    left.iter().for_each(|lease| shared.leases.remove(lease));
    if left.is_empty() || !planted!(D9) {
        settler::give_back(&settler, &left).await;
    }
}

/// Until there may be something to claim, or the drain begins. `deaf`: for how long no notice counts; `turn`: after how long some
/// key that is shut gets a turn.
async fn wait(shared: &Shared, crew: &Crew, deaf: Option<Duration>, turn: Option<Duration>) -> Result<(), Drained> {
    let poll = if planted!(B30) { Duration::from_secs(86_400) } else { spread(&shared.runtime, crew.poll) };
    let drained = shared.stop.reached(Stage::Drain);
    if let Some(turn) = turn.filter(|_| crew.has_common_rate()) {
        // There is nothing to take before, whoever says so. It asks after a poll all the same: the clock may have been set.
        return first(drained, shared.runtime.sleep(turn.min(poll))).await.map_or(Ok(()), |()| Err(Drained));
    }
    let told = async {
        if let Some(deaf) = deaf {
            shared.runtime.sleep(deaf).await;
        }
        crew.noticed.notified().await;
    };
    let turn = async {
        match turn {
            Some(turn) => shared.runtime.sleep(turn).await,
            None => std::future::pending().await,
        }
    };
    crew.next_look.set(Some(shared.runtime.monotonic() + poll));
    shared.waits.notify_one();
    let is_over = first(drained, first(first(crew.wake.notified(), told), turn)).await.is_ok();
    crew.next_look.set(None);
    if is_over { Err(Drained) } else { Ok(()) }
}

/// Nothing more is claimed.
struct Drained;

/// Waits until a row more would be of use here.
async fn room(crew: &Crew) {
    while crew.ahead.room() == 0 {
        if let Ok(permit) = first(crew.room.acquire(), crew.few.notified()).await {
            drop(permit);
            return;
        }
    }
}

enum Found {
    /// There may be more.
    More,
    /// Nothing due.
    Nothing,
    /// Nothing that may begin now; some key's next turn comes after this long.
    Shut(Duration),
    /// Rows that had to be given back.
    Unwanted,
}

async fn claim(shared: &Arc<Shared>, settler: &Settler, crew: &Arc<Crew>) -> Result<Found, StoreError> {
    let asked = u32::try_from(crew.room.available_permits() + crew.ahead.room()).unwrap_or(u32::MAX);
    let limit = asked.clamp(1, crew.batch);
    let verb = Claim {
        runner: shared.incarnation,
        jobs: crew.jobs.clone(),
        limit,
        charge: crew.charge,
        rate: crew.rate.clone(),
    };
    crew.tally.checked(shared.runtime.monotonic());
    crew.ahead.round_begins(shared.runtime.monotonic());
    let give_up_at = shared.runtime.monotonic() + PATIENCE;
    let answered = shared.caller.until(verb, give_up_at).await?;
    let claimed = answered.reply;
    let shut = claimed.next_at.map(|next_at| next_at.since(claimed.now));
    let is_full = claimed.executions.len() >= limit as usize;
    let is_all = !is_full && has_left_nothing(&claimed);
    crew.ahead.round_ends(shared.runtime.monotonic(), is_full, crew.room.available_permits());
    if claimed.executions.is_empty() {
        sometimes!("a claim finds nothing but rows to skip", !claimed.skipped.is_empty());
        return Ok(match shut {
            _ if !claimed.skipped.is_empty() => Found::More,
            Some(wait) => Found::Shut(wait),
            None => Found::Nothing,
        });
    }
    debug_assert!(
        claimed.executions.iter().all(|row| row.lease_ref().is_some_and(|l| l.token.0 == answered.request.0))
    );
    let Some(known) = queue::probe(shared, crew, &claimed.executions).await else {
        let leases: Vec<LeaseRef> = claimed.executions.iter().filter_map(Execution::lease_ref).collect();
        sometimes!("a batch is given back because its receiver cannot be asked");
        settler::give_back(settler, &leases).await;
        return Ok(Found::Unwanted);
    };
    start(shared, settler, crew, claimed.executions, answered.sent_at, &known).await;
    Ok(match shut {
        // With one key for all there is nothing else to look for.
        Some(wait) if is_all || crew.has_common_rate() => Found::Shut(wait),
        None if is_all => Found::Nothing,
        _ => Found::More,
    })
}

/// Whether a claim that got less than it asked for has got all that was due. What it skipped, and what a limit kept it from,
/// counts as asked for, and may stand before what could run.
fn has_left_nothing(claimed: &Claimed) -> bool {
    claimed.skipped.is_empty() && claimed.executions.iter().all(|row| row.policy.limit.is_none())
}

/// Makes the starts durable that came not with the claim, then runs the handlers. A handler whose start is not known to
/// be durable never runs (G4). Rows beyond the free workers wait; those that are not started yet, for their worker to
/// start them.
async fn start(
    shared: &Arc<Shared>,
    settler: &Settler,
    crew: &Arc<Crew>,
    rows: Vec<Execution>,
    claimed_at: Monotonic,
    known: &BTreeSet<ExecutionId>,
) {
    if shared.stop.has_reached(Stage::Drain) {
        sometimes!("a drain begins between a claim and its start");
        let all: Vec<LeaseRef> = rows.iter().filter_map(Execution::lease_ref).collect();
        return settler::give_back(settler, &all).await;
    }
    let free = crew.room.available_permits();
    let (mut started, mut now) = (0, Vec::new());
    for row in rows {
        let Some(lease) = row.lease_ref() else { continue };
        if row.is_started() {
            sometimes!("a row is charged by its claim");
            started += 1;
            let number = row.attempt;
            launch(shared, settler, crew, lease, row, Some(number), claimed_at);
        } else {
            now.push((lease, row));
        }
    }
    // Those that are charged have taken free workers first, wherever they stand: what may not lose an attempt is charged only
    // for a worker that is free then (G14).
    let later = now.split_off(free.saturating_sub(started).min(now.len()));
    sometimes!("a row waits uncharged for a worker", !later.is_empty());
    if !now.is_empty() {
        start_now(shared, settler, crew, now, known).await;
    }
    for (lease, row) in later {
        launch(shared, settler, crew, lease, row, None, claimed_at);
    }
}

async fn start_now(
    shared: &Arc<Shared>,
    settler: &Settler,
    crew: &Arc<Crew>,
    rows: Vec<(LeaseRef, Execution)>,
    known: &BTreeSet<ExecutionId>,
) {
    let leases: Vec<LeaseRef> = rows.iter().map(|(lease, _)| *lease).collect();
    let shortest = rows.iter().map(|(_, row)| row.policy.lease_ms).min().unwrap_or(0);
    let give_up_at = shared.runtime.monotonic() + shared.settings.trusted(Duration::from_millis(shortest)) / 2;
    let answered = match shared.caller.until(Start { leases: leases.clone() }, give_up_at).await {
        Ok(answered) => answered,
        Err(error) if error.kind() == ErrorKind::Unknown && planted!(A20) => {
            let sent_at = shared.runtime.monotonic();
            return rows.into_iter().for_each(|(lease, row)| {
                let number = row.attempt + 1;
                launch(shared, settler, crew, lease, row, Some(number), sent_at);
            });
        }
        Err(error) => {
            sometimes!("a start fails for good, and its rows are given back");
            tracing::warn!(%error, rows = leases.len(), "could not start claimed executions; giving them back");
            return settler::give_back(settler, &leases).await;
        }
    };
    for ((lease, row), outcome) in rows.into_iter().zip(answered.reply.outcomes) {
        match outcome {
            Ok(number) if known.contains(&row.id) => {
                sometimes!("an item is ended unrun because its receiver has it");
                runner::delivered_already(shared, settler, crew, &row, number).await;
            }
            Ok(number) => launch(shared, settler, crew, lease, row, Some(number), answered.sent_at),
            Err(refusal) => {
                sometimes!("a row is lost between its claim and its start");
                tracing::warn!(execution = %row.id, %refusal, "lost between claim and start");
            }
        }
    }
}

/// Gives the row to a free worker, or lets it wait for one. `number` is that of its attempt, if it is started.
fn launch(
    shared: &Arc<Shared>,
    settler: &Settler,
    crew: &Arc<Crew>,
    lease: LeaseRef,
    row: Execution,
    number: Option<u32>,
    sent_at: Monotonic,
) {
    let Some(work) = shared.work(&row.job) else { return };
    // The row's own lease decides: it may have been planned under other rules than this process has.
    let trusted_for = shared.settings.trusted(Duration::from_millis(row.policy.lease_ms));
    let beat = work.heartbeat.min(trusted_for / 3);
    let run = Run::new(shared.runtime.clone());
    let is_forgotten = crew.room.available_permits() == 0 && planted!(D10);
    let held = shared.leases.add(lease, trusted_for, if is_forgotten { trusted_for } else { beat }, sent_at, run);
    let attempt = Arc::new(Attempt {
        lease,
        generation: row.generation,
        job: row.job,
        scope: row.scope,
        slot_at: row.slot_at,
        number: number.unwrap_or(row.attempt),
        payload: row.payload,
        incarnation: shared.incarnation,
        retain: work.retain,
        trace: row.trace,
    });
    crew.ahead.push(Ready { attempt, held, is_started: number.is_some() });
    if crew.room.available_permits() > 0
        && let Ok(permit) = Arc::clone(&crew.room).try_acquire_owned()
        && let Some(ready) = crew.ahead.take()
    {
        let name = format!("{} {} {}", ready.attempt.job, ready.attempt.scope, ready.held.lease.id);
        let task = worker::run(Arc::clone(shared), settler.clone(), Arc::clone(crew), ready, permit);
        shared.runners.add(shared.runtime.spawn(&name, task));
    }
}
