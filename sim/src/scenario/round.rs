//! An operator's round: everything that an operator asks of a store, one step a tick, always in the same order. It
//! draws nothing, so that a request stays where it is in a run until a fault moves it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tourbillon::{
    driver::JobOperator,
    job::BoxError,
    model::{ExecutionId, JobName, RequestId, Scope, State},
    queue::Operator,
    service::{Service, Tick},
    store::{
        Due, ErrorKind, ListAudit, ListItems, ListJobs, ListLocks, ListPauses, ListRecent, ListScopes, ListSkipped,
        Lives, PauseFilter, ReadClock, ReadStats, Request, Store, StoreError, UpdateItem, Verb,
    },
};

use super::{QueueShape, queues};
use crate::world::Host;

/// Rows on a page.
const PAGE: u32 = 50;

/// Waits that the operator gives to an item.
const LATER_MS: u64 = 1_000;

/// Of a call; as operators have it.
const DEADLINE: Duration = Duration::from_secs(5);

/// One thing that the operator does.
#[derive(Clone, Copy)]
enum Step {
    Postpone,
    Cancel,
    RunAgain,
    Delete,
    Clean,
    Count,
    LookUp,
    Pause,
    Resume,
    Trigger,
    Look(fn(&JobName) -> Verb),
}

const ROUND: &[Step] = &[
    Step::Postpone,
    Step::Look(|_| ReadClock {}.into()),
    Step::Cancel,
    Step::Look(|_| ReadStats {}.into()),
    Step::RunAgain,
    Step::Look(|_| ListSkipped { job: None, offset: 0, limit: PAGE }.into()),
    Step::Count,
    Step::Look(|_| ListLocks { after: None, limit: PAGE }.into()),
    Step::Delete,
    Step::Look(|_| ListAudit { limit: PAGE, ..ListAudit::default() }.into()),
    Step::Clean,
    Step::Look(|_| ListJobs { after: None, limit: PAGE }.into()),
    Step::LookUp,
    Step::Look(|queue| ListScopes { job: queue.clone(), after: None, limit: PAGE }.into()),
    Step::Pause,
    Step::Look(|_| ListPauses { job: None, which: PauseFilter::InForce, offset: 0, limit: PAGE }.into()),
    Step::Trigger,
    Step::Resume,
    Step::Look(|_| ListRecent::new(PAGE).into()),
];

/// The operator of a shape, as a service of one replica. Errors are the world's: the next tick goes on.
pub(super) fn service(shape: &QueueShape, every: Duration, host: Host) -> Service {
    let operator = Operator::new(host.store(), host.runtime(), &shape.name).expect("checked when it was read");
    let operator = operator.named("sim").expect("a plain name");
    let done = Arc::new(AtomicUsize::new(0));
    Service::new(&queues::operator_name(shape)).every(every).timeout(every.max(Duration::from_secs(30))).run(
        move |_: Tick| {
            let step = ROUND[done.fetch_add(1, Ordering::Relaxed) % ROUND.len()];
            let (operator, host) = (operator.clone(), host.clone());
            async move { take(step, &operator, &host).await }
        },
    )
}

async fn take(step: Step, operator: &Operator, host: &Host) -> Result<u64, BoxError> {
    let of_jobs = JobOperator::new(host.store(), host.runtime());
    let queue = operator.queue().as_str();
    // Nothing runs for it, so that a pause of which nobody learns that it was lifted stops nothing.
    let nowhere = || Scope::new("operator", "nowhere").ok();
    let waiting = [State::Scheduled, State::Retryable];
    let count = match step {
        Step::Look(verb) => {
            let request = Request { id: RequestId(host.runtime().uuid()), verb: verb(operator.queue()) };
            let store = host.store();
            // Whoever asks a store without a driver sees to the deadline.
            let answer = host.runtime().timeout(DEADLINE, store.call(request)).await;
            answer.unwrap_or_else(|| Err(StoreError::new(ErrorKind::Unknown, "no answer in time")))?;
            1
        }
        Step::Postpone => {
            // An item that nobody has, if none waits: the verb is asked all the same.
            let id = first(operator, &waiting).await?.unwrap_or_else(|| nobody(host));
            let due = Some(Due::AfterMs(LATER_MS));
            operator.update(UpdateItem { due, ..operator.change(id) }).await?;
            1
        }
        Step::Cancel => {
            let id = first(operator, &[State::Running, State::Scheduled]).await?.unwrap_or_else(|| nobody(host));
            operator.cancel(&[id]).await?.len()
        }
        Step::RunAgain => {
            let ended = [State::Dead, State::Succeeded, State::Cancelled];
            let id = first(operator, &ended).await?.unwrap_or_else(|| nobody(host));
            operator.requeue(&[id]).await?.len()
        }
        Step::Delete => {
            let id = first(operator, &waiting).await?.unwrap_or_else(|| nobody(host));
            operator.delete(&[id]).await?.len()
        }
        Step::Clean => operator.clean(&[State::Dead, State::Skipped], Duration::from_secs(1)).await?.len(),
        Step::Count => usize::try_from(operator.stats().await?.scheduled).unwrap_or(0),
        Step::Pause => of_jobs.pause(queue, nowhere()).await.map(|_| 1)?,
        Step::Resume => of_jobs.resume(queue, nowhere()).await.map(|_| 1)?,
        Step::Trigger => {
            for job in of_jobs.jobs().await? {
                of_jobs.trigger(job.job.as_str(), Scope::global()).await?;
            }
            1
        }
        Step::LookUp => usize::from(operator.get(nobody(host)).await?.is_some()),
    };
    Ok(count as u64)
}

/// The first item in one of these states, if there is one.
async fn first(operator: &Operator, states: &[State]) -> Result<Option<ExecutionId>, StoreError> {
    let filter = ListItems { states: states.to_vec(), lives: Lives::Newest, ..operator.items(1) };
    Ok(operator.list(filter).await?.first().map(|row| row.id))
}

fn nobody(host: &Host) -> ExecutionId {
    ExecutionId(host.runtime().uuid())
}
