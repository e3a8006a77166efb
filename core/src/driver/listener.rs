//! Turns notices of the store into looks for due work. A notice is a hint: whatever becomes of this loop, every crew
//! polls as if it were not there (G5, G14).

use std::{sync::Arc, time::Duration};

use super::{Shared, WakeUps, stop::Stage};
use crate::{
    runtime::{Monotonic, first},
    store::{ErrorKind, Listener, Notice, StoreError},
};

/// Every replica hears every notice. One that comes after so long a quiet is looked into at once; what follows it within
/// this, after a wait drawn from what is left of this, in which all that is heard becomes one look: a burst costs two claims
/// a replica (B34), and the first of them to look takes the work. (Drawn from all of it, the wait would make the next notice
/// come too soon as well, and work that comes steadily would always wait.)
const SPREAD: Duration = Duration::from_millis(20);

/// First wait before listening again; doubled up to [`LONGEST_PAUSE`], and drawn from as much again, so that replicas do
/// not come back together.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(20);

/// Whether there is anybody to wake.
pub(super) fn is_wanted(shared: &Shared) -> bool {
    shared.settings.wake_ups == WakeUps::Notices && !(shared.jobs.is_empty() && shared.queues.is_empty())
}

pub(super) async fn run(shared: Arc<Shared>) {
    // Ended by a drain: the last rows are looked for by nobody.
    let _ = first(shared.stop.reached(Stage::Drain), listen(&shared)).await;
}

/// Listens, and again when that ended. Returns if the store gives no notices.
async fn listen(shared: &Shared) {
    let mut pause = SHORTEST_PAUSE;
    loop {
        let error = match begin(shared).await {
            Ok(None) => {
                sometimes!("a store gives no notices");
                return;
            }
            Ok(Some(mut listener)) => {
                sometimes!("a replica listens, and looks for what it missed");
                // What was told until now was told to nobody here: before the first listener stood, as between two. A crew
                // that is at its first claim keeps this for its first wait.
                wake(shared, &Notice::Any);
                hear(shared, listener.as_mut(), &mut pause).await
            }
            Err(error) => {
                sometimes!("a replica cannot listen");
                error
            }
        };
        if matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Unknown) && pause < LONGEST_PAUSE {
            tracing::debug!(%error, "no notices for now; polling goes on");
        } else {
            sometimes!("notices do not come for long");
            tracing::warn!(%error, "notices do not come, due work is found by polling: mend the listener, or choose `WakeUps::PollOnly`");
            pause = LONGEST_PAUSE;
        }
        shared.runtime.sleep(pause + shared.runtime.random_below(pause)).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn begin(shared: &Shared) -> Result<Option<Box<dyn Listener>>, StoreError> {
    let store = shared.caller.store();
    in_time(shared, store.listen()).await
}

/// Hears until the listener is gone, and says why it is.
async fn hear(shared: &Shared, listener: &mut dyn Listener, pause: &mut Duration) -> StoreError {
    let mut looked_at: Option<Monotonic> = None;
    loop {
        // However much is heard meanwhile, so that a listener is known to be good at least this often.
        let probe_at = shared.runtime.monotonic() + shared.settings.probe_interval;
        while let Some(heard) =
            shared.runtime.timeout(probe_at.since(shared.runtime.monotonic()), listener.next()).await
        {
            let quiet = looked_at.map_or(SPREAD, |at| shared.runtime.monotonic().since(at));
            let told = match heard {
                Ok(notice) if quiet >= SPREAD => Ok(notice),
                Ok(notice) => gather(shared, listener, notice, SPREAD.saturating_sub(quiet)).await,
                Err(error) => Err(error),
            };
            match told {
                Ok(notice) => {
                    looked_at = Some(shared.runtime.monotonic());
                    let woken = wake(shared, &notice);
                    sometimes!("a notice wakes a crew", woken > 0);
                }
                Err(error) => {
                    sometimes!("a listener is lost while it hears");
                    return error;
                }
            }
        }
        if planted!(D7) {
            continue;
        }
        if let Err(error) = in_time(shared, listener.probe()).await {
            sometimes!("a listener that hears nothing fails its probe");
            return error;
        }
        // Not before: one that is lost over and over must not wake everybody each time.
        *pause = SHORTEST_PAUSE;
    }
}

/// What comes within a part of `spread`, as one notice.
async fn gather(
    shared: &Shared,
    listener: &mut dyn Listener,
    first: Notice,
    spread: Duration,
) -> Result<Notice, StoreError> {
    let mut all = first;
    let until = shared.runtime.monotonic() + shared.runtime.random_below(spread);
    while let Some(more) = shared.runtime.timeout(until.since(shared.runtime.monotonic()), listener.next()).await {
        sometimes!("several notices become one look");
        all.add(more?);
    }
    Ok(all)
}

/// Makes the crews look that it concerns, and says how many those are. One that claims at the moment looks once more behind that.
fn wake(shared: &Shared, notice: &Notice) -> usize {
    let mut woken = 0;
    for crew in shared.crews().filter(|crew| notice.concerns(&crew.jobs)) {
        crew.noticed.notify_one();
        woken += 1;
    }
    woken
}

async fn in_time<T>(shared: &Shared, call: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    let limit = shared.settings.call_timeout;
    let late = || StoreError::new(ErrorKind::Unavailable, format!("listen: no answer within {limit:?}"));
    shared.runtime.timeout(limit, call).await.unwrap_or_else(|| Err(late()))
}
