//! The workload of queues: on every replica a producer, which enqueues through the faulty network, and a worker.

use std::{
    future::{Future, poll_fn},
    task::Poll,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tourbillon::{
    driver::SchedulerBuilder,
    job::{BoxError, Completion, Context, HandlerError},
    model::{ExecutionId, JobName, State},
    queue::{Enqueuer, ItemOptions, Operator, Queue, QueueError, RateLimit, Unique},
    service::{Service, Tick},
    store::{Due, EnqueueOutcome, ListItems, Lives, UpdateItem},
};

use super::{Enqueues, Operates, QueueShape, planned::perform, round};
use crate::{
    chance,
    history::{QueueFacts, QueueRate},
    world::Host,
};

/// What is enqueued: who made it, and which of its items it is.
#[derive(Clone, Serialize, Deserialize, Debug)]
pub(super) struct Parcel {
    key: Option<u64>,
    number: u64,
}

/// Adds producer and worker of a shape.
pub(super) fn add(builder: SchedulerBuilder, shape: &QueueShape, host: &Host, receiver: u8) -> SchedulerBuilder {
    let producer = Enqueuer::new(host.store(), host.runtime(), &rules(shape)).expect("checked when it was read");
    let (at, work) = (host.clone(), shape.work);
    let queue = rules(shape).run(move |_: Parcel, ctx: Context| {
        let at = at.clone();
        async move { perform(&at, &ctx, work, receiver).await as Result<Completion, HandlerError> }
    });
    let builder = builder.queue(queue).service(producing(shape, producer, host.clone()));
    match shape.operate_every {
        Some(every) => builder.service(match shape.operates {
            Operates::Drawn => operating(shape, every, host.clone()),
            Operates::InTurn => round::service(shape, every, host.clone()),
        }),
        None => builder,
    }
}

/// What checkers may assume of a queue.
pub(crate) fn facts(shape: &QueueShape) -> QueueFacts {
    let queue = JobName::new(&shape.name).expect("a scenario is checked when it is read");
    let has_limit = shape.concurrency_per_key.is_some() || shape.rate.is_some();
    QueueFacts { queue, backoff: shape.backoff.clone(), workers: shape.workers, has_limit, rate: shape.rate }
}

/// Whether core takes the rules.
pub(super) fn check(shape: &QueueShape) -> Result<(), QueueError> {
    struct Nowhere;
    impl tourbillon::store::Store for Nowhere {
        fn call(
            &self,
            _: tourbillon::store::Request,
        ) -> tourbillon::store::BoxFuture<'_, Result<tourbillon::store::Reply, tourbillon::store::StoreError>>
        {
            Box::pin(std::future::pending())
        }
    }
    Enqueuer::new(Nowhere, tourbillon::runtime::Runtime::tokio(), &rules(shape)).map(drop)
}

fn rules(shape: &QueueShape) -> Queue<Parcel> {
    let mut queue = Queue::new(&shape.name)
        .workers(shape.workers)
        .delivery(shape.delivery)
        .run_timeout(shape.run_timeout)
        .lease(shape.lease)
        .retain(shape.retain)
        .backoff(shape.backoff.clone());
    if shape.enqueues == Enqueues::ByCallers {
        queue = queue.coalescing();
    }
    if let Some(attempts) = shape.max_attempts {
        queue = queue.max_attempts(attempts);
    }
    if let Some(items) = shape.capacity {
        queue = queue.capacity(items);
    }
    if let Some(running) = shape.concurrency_per_key {
        queue = queue.concurrency_per_key(running);
    }
    if let Some(QueueRate { items, period, burst, per_key }) = shape.rate {
        let rate = RateLimit::per(items, period).burst(burst);
        queue = if per_key { queue.rate_limit_per_key(rate) } else { queue.rate_limit(rate) };
    }
    if let Some(ttl) = shape.ttl {
        queue = queue.ttl(ttl);
    }
    if shape.keys > 0 {
        let unique = Unique::by_key(|parcel: &Parcel| format!("{:?}", parcel.key)).counting(shape.counts);
        queue = queue.unique(match shape.period {
            Some(period) => unique.within(period),
            None => unique,
        });
    }
    queue
}

/// Name of the service that operates on the queue.
pub(super) fn operator_name(shape: &QueueShape) -> String {
    format!("operator of {}", shape.name)
}

/// Finished items are cleaned when they are older.
const KEPT: Duration = Duration::from_secs(120);

/// An operator in a hurry: each tick one of the waiting items is changed or deleted, or dead ones are requeued, or old
/// ones cleaned, or one is cancelled whatever it does. Errors are the world's: the next tick goes on.
fn operating(shape: &QueueShape, every: Duration, host: Host) -> Service {
    let operator = Operator::new(host.store(), host.runtime(), &shape.name).expect("checked when it was read");
    let operator = operator.named("sim").expect("a plain name");
    let cancel_percent = shape.cancel_percent;
    Service::new(&operator_name(shape)).every(every).timeout(every.max(Duration::from_secs(30))).run(
        move |tick: Tick| {
            let (operator, seed) = (operator.clone(), host.seed());
            async move {
                let (drawn, _) = tick.request().0.as_u64_pair();
                let draw = |what: &str| chance::draw(seed, what, drawn, 0);
                if chance::percent(draw("cancels"), cancel_percent) {
                    let states = vec![State::Scheduled, State::Retryable, State::Running];
                    let page = operator.list(ListItems { states, ..operator.items(50) }).await?;
                    let at = draw("item").checked_rem(page.len() as u64).unwrap_or(0);
                    let Some(row) = usize::try_from(at).ok().and_then(|at| page.get(at)) else { return Ok(0) };
                    return Ok(operator.cancel(&[row.id]).await?.len() as u64);
                }
                let touched = match draw("operation") % 5 {
                    0 => operator.requeue_dead(3).await?.len(),
                    1 => operator.clean(&[State::Succeeded, State::Dead, State::Skipped], KEPT).await?.len(),
                    which => {
                        let states = vec![State::Scheduled, State::Retryable, State::Dead];
                        let page =
                            operator.list(ListItems { states, lives: Lives::Newest, ..operator.items(50) }).await?;
                        let at = draw("item").checked_rem(page.len() as u64).unwrap_or(0);
                        let Some(row) = usize::try_from(at).ok().and_then(|at| page.get(at)) else { return Ok(0) };
                        if which == 2 {
                            operator.delete(&[row.id]).await?;
                        } else {
                            let due = Some(Due::AfterMs(draw("wait") % 20_000));
                            operator.update(UpdateItem { due, ..operator.change(row.id) }).await?;
                        }
                        1
                    }
                };
                Ok::<u64, BoxError>(touched as u64)
            }
        },
    )
}

/// One to three items a tick, keys drawn. Errors are the world's: the next tick goes on.
fn producing(shape: &QueueShape, producer: Enqueuer<Parcel>, host: Host) -> Service {
    let (keys, lanes, delay) = (u64::from(shape.keys), u64::from(shape.limit_keys), shape.delay);
    let enqueues = shape.enqueues;
    Service::new(&format!("producer of {}", shape.name))
        .every(shape.produce_every)
        .timeout(shape.produce_every.max(Duration::from_secs(30)))
        .run(move |tick: Tick| {
            let (producer, host) = (producer.clone(), host.clone());
            async move {
                let (drawn, _) = tick.request().0.as_u64_pair();
                let draw = |what: &str, n| chance::draw(host.seed(), what, drawn, n);
                let parcels: Vec<Parcel> = (0..chance::between(draw("parcels", 0), 1, 3))
                    .map(|n| Parcel { key: (keys > 0).then(|| draw("key", n) % keys), number: draw("number", n) })
                    .collect();
                let items = parcels.iter().map(|parcel| {
                    let wait =
                        if chance::percent(draw("delayed", parcel.number), 30) { delay } else { Duration::ZERO };
                    // Without a limit per key it has no meaning.
                    let turn = draw("turn", parcel.number).checked_rem(lanes).unwrap_or(0).to_string();
                    (parcel, ItemOptions::new().delay(wait).key(&turn))
                });
                let made = match enqueues {
                    Enqueues::InBatches => producer.enqueue_all(items).await?.len(),
                    Enqueues::ByCallers => by_callers(&producer, &host, items).await,
                };
                Ok::<u64, BoxError>(made as u64)
            }
        })
}

/// Each item by a caller of its own, who must be told of that item and of no other's. Returns how many were told.
async fn by_callers<'p>(
    producer: &Enqueuer<Parcel>,
    host: &Host,
    items: impl Iterator<Item = (&'p Parcel, ItemOptions)>,
) -> usize {
    let mut callers: Vec<_> = items
        .map(|(parcel, options)| {
            let id = ExecutionId(host.runtime().uuid());
            Box::pin(async move { (id, producer.enqueue_with(parcel, options.id(id)).await) })
        })
        .collect();
    let mut made = 0;
    poll_fn(|cx| {
        callers.retain_mut(|caller| match caller.as_mut().poll(cx) {
            Poll::Pending => true,
            Poll::Ready((own, told)) => {
                if let Ok(EnqueueOutcome::Enqueued(id)) = told {
                    assert_eq!(id, own, "a caller is told of its own item");
                }
                made += usize::from(told.is_ok());
                false
            }
        });
        if callers.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    made
}
