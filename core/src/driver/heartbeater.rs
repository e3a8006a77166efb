//! Renews leases, on a task of its own: a slow handler, claim or settle never delays a heartbeat.

use std::{sync::Arc, time::Duration};

use super::{
    Shared,
    lease::{Held, Loss},
    stop::Stage,
};
use crate::{
    runtime::first,
    store::{CancelRequest, Heartbeat, MAX_BATCH},
};

/// How long to sleep when no lease is held; a new lease wakes the loop.
const IDLE: Duration = Duration::from_secs(3600);

pub(super) async fn run(shared: Arc<Shared>) {
    let end = if planted!(B24) { Stage::Drain } else { Stage::End };
    while !shared.stop.has_reached(end) {
        let now = shared.runtime.monotonic();
        let due = shared.leases.due(now, MAX_BATCH as usize);
        if !due.is_empty() && !planted!(B22) {
            // Beats go on while one waits for its answer: a hung connection must not hold back the next beat.
            let sharing = Arc::clone(&shared);
            shared.runners.add(shared.runtime.spawn("heartbeat", async move { beat(&sharing, &due).await }));
        }
        let wait = shared.leases.next_beat_at().map_or(IDLE, |at| at.since(shared.runtime.monotonic()));
        let wake = async {
            let _ = first(shared.leases.changed.notified(), shared.runtime.sleep(wait)).await;
        };
        let _ = first(shared.stop.reached(end), wake).await;
    }
}

/// One heartbeat for these leases. A call that fails changes nothing: the trust runs out by itself (B20), and the
/// next beat tries again.
async fn beat(shared: &Shared, due: &[Arc<Held>]) {
    sometimes!("one heartbeat renews several leases", due.len() > 1);
    let leases = due.iter().map(|held| held.lease).collect();
    let progress: Vec<_> = due.iter().filter_map(|held| Some((held.lease.id, held.run.saying.take()?))).collect();
    let answered = match shared.caller.once(Heartbeat { leases, progress: progress.clone() }).await {
        Ok(answered) => answered,
        Err(error) => {
            sometimes!("a heartbeat fails");
            for (id, progress) in progress {
                due.iter()
                    .filter(|held| held.lease.id == id)
                    .for_each(|held| held.run.saying.put_back(progress.clone()));
            }
            tracing::warn!(%error, leases = due.len(), "heartbeat failed; handlers stop when their lease is no longer safe");
            return;
        }
    };
    for (held, outcome) in due.iter().zip(answered.reply.outcomes) {
        match outcome {
            Ok(renewal) if renewal.cancel == CancelRequest::Requested => {
                sometimes!("a handler's cancellation is learned from its heartbeat");
                held.lose(Loss::Cancelled);
            }
            Ok(_) if planted!(D3) => held.renewed(shared.runtime.monotonic()),
            Ok(_) => held.renewed(answered.sent_at),
            Err(_) if planted!(A3) => {}
            Err(refusal) => {
                sometimes!("a heartbeat is told that its lease is lost");
                tracing::warn!(execution = %held.lease.id, %refusal, "the lease is gone; stopping the handler");
                held.lose(Loss::LeaseLost);
            }
        }
    }
}
