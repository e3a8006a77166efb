//! Takes due rows for as many handlers as there is room, charges them, and hands them to runners.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use super::{
    Shared,
    queue::{self, Crew},
    runner,
    settler::Settler,
    stop::Stage,
};
use crate::{
    job::Attempt,
    model::{Execution, ExecutionId, LeaseRef, Outcome, transition::Charge},
    runtime::{Monotonic, first},
    store::{Claim, ErrorKind, Settlement, Start, StoreError},
};

/// How long a claim whose outcome is unknown is asked about again. Rows that it took wait meanwhile; after that
/// they expire and are claimed again at no charge.
const CLAIM_PATIENCE: Duration = Duration::from_secs(10);

pub(super) async fn run(shared: Arc<Shared>, settler: Settler, crew: Arc<Crew>) {
    while !shared.stop.has_reached(Stage::Drain) {
        let room = first(crew.room.acquire(), shared.stop.reached(Stage::Drain)).await;
        let Ok(Ok(first_permit)) = room else { return };
        drop(first_permit);
        let heeds_notices = match claim(&shared, &settler, &crew).await {
            Ok(Found::More) => continue,
            Ok(Found::Nothing) => true,
            Ok(Found::Unwanted) => false,
            Err(error) => {
                tracing::warn!(%error, "claim failed; trying again");
                false
            }
        };
        // Spread around the interval, so that replicas started together do not stay in step.
        let poll = crew.poll;
        let wait = poll * 9 / 10 + shared.runtime.random_below(poll / 5);
        let told = async { if heeds_notices { crew.noticed.notified().await } else { std::future::pending().await } };
        let wait = if planted!(B30) { Duration::from_secs(86_400) } else { wait };
        let wake = first(first(crew.wake.notified(), told), shared.runtime.sleep(wait));
        if first(shared.stop.reached(Stage::Drain), wake).await.is_ok() {
            return;
        }
    }
}

enum Found {
    /// There may be more.
    More,
    /// Nothing due.
    Nothing,
    /// Rows that had to be given back. That is noticed by all, and whoever took them again at once would give them back
    /// again, and so on for as long as the reason lasts: they wait for the next poll.
    Unwanted,
}

async fn claim(shared: &Arc<Shared>, settler: &Settler, crew: &Arc<Crew>) -> Result<Found, StoreError> {
    let room = u32::try_from(crew.room.available_permits()).unwrap_or(u32::MAX);
    let verb = Claim {
        runner: shared.incarnation,
        jobs: crew.jobs.clone(),
        limit: room.clamp(1, crew.batch),
        charge: Charge::AtStart,
    };
    crew.tally.checked(shared.runtime.monotonic());
    let give_up_at = shared.runtime.monotonic() + CLAIM_PATIENCE;
    let answered = shared.caller.until(verb, give_up_at).await?;
    let claimed = answered.reply;
    if claimed.executions.is_empty() {
        return Ok(if claimed.skipped.is_empty() { Found::Nothing } else { Found::More });
    }
    debug_assert!(
        claimed.executions.iter().all(|row| row.lease_ref().is_some_and(|l| l.token.0 == answered.request.0))
    );
    let Some(known) = queue::probe(shared, crew, &claimed.executions).await else {
        let leases: Vec<LeaseRef> = claimed.executions.iter().filter_map(Execution::lease_ref).collect();
        give_back(settler, &leases).await;
        return Ok(Found::Unwanted);
    };
    start(shared, settler, crew, claimed.executions, &known).await;
    Ok(Found::More)
}

/// Makes the starts durable, then runs the handlers. A handler whose start is not known to be durable never runs
/// (G4).
async fn start(
    shared: &Arc<Shared>,
    settler: &Settler,
    crew: &Arc<Crew>,
    rows: Vec<Execution>,
    known: &BTreeSet<ExecutionId>,
) {
    let leases: Vec<LeaseRef> = rows.iter().filter_map(Execution::lease_ref).collect();
    if shared.stop.has_reached(Stage::Drain) {
        return give_back(settler, &leases).await;
    }
    let shortest = rows.iter().map(|row| row.policy.lease_ms).min().unwrap_or(0);
    let give_up_at = shared.runtime.monotonic() + shared.settings.trusted(Duration::from_millis(shortest)) / 2;
    let answered = match shared.caller.until(Start { leases: leases.clone() }, give_up_at).await {
        Ok(answered) => answered,
        Err(error) if error.kind() == ErrorKind::Unknown && planted!(A20) => {
            let sent_at = shared.runtime.monotonic();
            return rows.into_iter().for_each(|row| {
                let number = row.attempt + 1;
                launch(shared, settler, crew, row, number, sent_at);
            });
        }
        Err(error) => {
            tracing::warn!(%error, rows = rows.len(), "could not start claimed executions; giving them back");
            return give_back(settler, &leases).await;
        }
    };
    for (row, outcome) in rows.into_iter().zip(answered.reply.outcomes) {
        match outcome {
            Ok(number) if known.contains(&row.id) => {
                runner::delivered_already(shared, settler, crew, &row, number).await;
            }
            Ok(number) => launch(shared, settler, crew, row, number, answered.sent_at),
            Err(refusal) => tracing::warn!(execution = %row.id, %refusal, "lost between claim and start"),
        }
    }
}

fn launch(
    shared: &Arc<Shared>,
    settler: &Settler,
    crew: &Arc<Crew>,
    row: Execution,
    number: u32,
    sent_at: Monotonic,
) {
    let (Some(lease), Some(work)) = (row.lease_ref(), shared.work(&row.job)) else { return };
    let Ok(permit) = Arc::clone(&crew.room).try_acquire_owned() else {
        // The limit of the claim was the room at that time, and only this task takes room.
        debug_assert!(false, "claimed more than there is room");
        return;
    };
    // The row's own lease decides: it may have been planned under other rules than this process has.
    let trusted_for = shared.settings.trusted(Duration::from_millis(row.policy.lease_ms));
    let held = shared.leases.add(lease, trusted_for, work.heartbeat.min(trusted_for / 3), sent_at);
    let attempt = Attempt {
        lease,
        generation: row.generation,
        job: row.job,
        scope: row.scope,
        slot_at: row.slot_at,
        number,
        payload: row.payload,
        incarnation: shared.incarnation,
    };
    let name = format!("{} {} {}", attempt.job, attempt.scope, lease.id);
    let (sharing, settler, crew) = (Arc::clone(shared), settler.clone(), Arc::clone(crew));
    let task = shared.runtime.spawn(&name, async move {
        runner::run(&sharing, &settler, &crew, attempt, &held).await;
        drop(permit);
        crew.wake.notify_one();
    });
    shared.runners.add(task);
}

/// Releases rows that were never run; whatever cannot be released expires at no charge.
async fn give_back(settler: &Settler, leases: &[LeaseRef]) {
    for lease in leases {
        let _ = settler.settle(Settlement { lease: *lease, outcome: Outcome::Released }).await;
    }
}
