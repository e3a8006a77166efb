//! A row that cannot be read, made by hand behind the store's back (P-43): it is set aside with the reason, and it stops
//! no other row. Not compared with the memory store, whose rows are always what they are.

use std::sync::Arc;

use tourbillon::{
    model::{Audit, ExecutionId, Limit, RequestId, State},
    store::{
        BoxFuture, Claim, Enqueue, EnqueueOutcome, Heartbeat, ListItems, MAX_BATCH, ManualClock, NewItem, Operation,
        Request, Rescue, Settle, Settlement, Start, Store,
    },
};
use uuid::Uuid;

use super::{
    Fixture, Spoiler,
    subject::{LEASE_MS, START, claim_of, item_of, job, scrambled, succeeded},
};

/// One trial.
type Run = for<'a> fn(&'a dyn Fixture) -> BoxFuture<'a, ()>;

macro_rules! cases {
    ($($name:ident,)*) => {
        pub(super) const CASES: &[(&str, Run)] = &[$((stringify!($name), |fixture| Box::pin($name(fixture))),)*];
    };
}

cases! {
    a_waiting_row_that_cannot_be_read_stops_no_claim,
    a_running_row_that_cannot_be_read_stops_no_other,
    a_trace_that_is_none_stops_nothing,
}

/// A store with three due items, the one in the middle to be spoilt.
struct Bench {
    store: Arc<dyn Store>,
    spoiler: Box<dyn Spoiler>,
    clock: ManualClock,
    serial: u64,
    ids: [ExecutionId; 3],
}

impl Bench {
    async fn new(fixture: &dyn Fixture) -> Option<Self> {
        let clock = ManualClock::new(START);
        let made = fixture.with_spoiler(clock.clone()).await;
        let (store, spoiler) =
            made.unwrap_or_else(|error| panic!("the fixture failed to make a store: {error:?}"))?;
        let ids = [1, 2, 3].map(|n| ExecutionId(Uuid::from_u128(n)));
        let mut bench = Self { store, spoiler, clock, serial: 0, ids };
        // All under one limit, so that a row set aside must give its place back.
        let limit = Limit { key: "bench".to_owned(), max: 2 };
        let item = |id| NewItem { policy: with_limit(id, &limit), ..item_of(id, Audit::All) };
        let items = ids.map(item).to_vec();
        let outcomes = bench.call(Enqueue { queue: job("notify"), max_items: None, items }).await.outcomes;
        assert_eq!(outcomes, ids.map(EnqueueOutcome::Enqueued));
        Some(bench)
    }

    async fn call<V: Operation>(&mut self, verb: V) -> V::Reply {
        self.serial += 1;
        let request = Request { id: RequestId(scrambled(self.serial)), verb: verb.into() };
        let reply = self.store.call(request.clone()).await;
        let reply = reply.unwrap_or_else(|error| panic!("{request:?} was refused: {error:?}"));
        V::reply(reply).expect("the reply is of the verb's own kind")
    }

    /// Claims until nothing is left to claim.
    async fn claim_all(&mut self) -> Vec<tourbillon::model::Execution> {
        let mut all = Vec::new();
        for _ in 0..3 {
            all.extend(self.call::<Claim>(claim_of(&[&job("notify")], 10)).await.executions);
        }
        all
    }

    /// The one in the middle, and nothing else, is kept with a reason.
    async fn is_set_aside(&self) {
        let aside = self.spoiler.set_aside().await;
        assert_eq!(aside.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [self.ids[1]]);
        assert!(!aside[0].1.is_empty(), "the reason is recorded");
    }
}

fn with_limit(id: ExecutionId, limit: &Limit) -> tourbillon::model::Policy {
    tourbillon::model::Policy { limit: Some(limit.clone()), ..item_of(id, Audit::All).policy }
}

/// The others are claimed, and run.
// P-43
async fn a_waiting_row_that_cannot_be_read_stops_no_claim(fixture: &dyn Fixture) {
    let Some(mut bench) = Bench::new(fixture).await else { return };
    let [first, bad, last] = bench.ids;
    bench.spoiler.spoil(bad).await;
    let rows = bench.claim_all().await;
    assert_eq!(rows.iter().map(|row| row.id).collect::<Vec<_>>(), [first, last]);
    bench.is_set_aside().await;
    let leases: Vec<_> = rows.iter().filter_map(tourbillon::model::Execution::lease_ref).collect();
    assert_eq!(bench.call(Start { leases: leases.clone() }).await.outcomes, [Ok(1), Ok(1)]);
    let settlements = leases.iter().map(|lease| Settlement::of(*lease, succeeded())).collect();
    let settled = bench.call(Settle { settlements }).await.outcomes;
    assert_eq!(settled, [Ok(State::Succeeded), Ok(State::Succeeded)]);
    let page = bench.call(ListItems::new(job("notify"), MAX_BATCH)).await.items;
    assert_eq!(page.iter().map(|row| row.id).collect::<Vec<_>>(), [first, last]);
}

/// Their leases are renewed, their leases expire, they are taken over.
// P-43
async fn a_running_row_that_cannot_be_read_stops_no_other(fixture: &dyn Fixture) {
    let Some(mut bench) = Bench::new(fixture).await else { return };
    let [first, bad, last] = bench.ids;
    let rows = bench.call::<Claim>(claim_of(&[&job("notify")], 10)).await.executions;
    assert_eq!(rows.iter().map(|row| row.id).collect::<Vec<_>>(), [first, bad]);
    let leases: Vec<_> = rows.iter().filter_map(tourbillon::model::Execution::lease_ref).collect();
    bench.call(Start { leases: leases.clone() }).await;
    bench.spoiler.spoil(bad).await;
    assert!(bench.call(Heartbeat::of(leases)).await.outcomes[0].is_ok());
    bench.clock.advance(std::time::Duration::from_millis(LEASE_MS + 1));
    bench.call(Rescue { limit: 10 }).await;
    let mut taken: Vec<_> = bench.claim_all().await.iter().map(|row| row.id).collect();
    taken.sort_unstable();
    assert_eq!(taken, [first, last]);
    bench.is_set_aside().await;
}

/// Nothing is wrong with a row for it: it runs, is tried again, and is listed, without a trace.
async fn a_trace_that_is_none_stops_nothing(fixture: &dyn Fixture) {
    for text in ["", "nonsense", "00-00000000000000000000000000000000-0000000000000000-01", "ff", "00-ä"] {
        let Some(mut bench) = Bench::new(fixture).await else { return };
        let [first, bad, last] = bench.ids;
        bench.spoiler.spoil_trace(bad, text).await;
        let rows = bench.call::<Claim>(claim_of(&[&job("notify")], 10)).await.executions;
        assert_eq!(rows.iter().map(|row| row.id).collect::<Vec<_>>(), [first, bad], "{text:?}");
        assert_eq!(rows[1].trace, None, "{text:?}");
        let leases: Vec<_> = rows.iter().filter_map(tourbillon::model::Execution::lease_ref).collect();
        assert_eq!(bench.call(Start { leases: leases.clone() }).await.outcomes, [Ok(1), Ok(1)], "{text:?}");
        assert_eq!(bench.call(ListItems::new(job("notify"), MAX_BATCH)).await.items[1].trace, None, "{text:?}");
        let settlements = leases.iter().map(|lease| Settlement::of(*lease, succeeded())).collect();
        let settled = bench.call(Settle { settlements }).await.outcomes;
        assert_eq!(settled, [Ok(State::Succeeded), Ok(State::Succeeded)], "{text:?}");
        let page = bench.call(ListItems::new(job("notify"), MAX_BATCH)).await.items;
        let shown: Vec<_> = page.iter().map(|row| (row.id, &row.trace)).collect();
        assert_eq!(shown, [(first, &None), (bad, &None), (last, &None)], "{text:?}");
        assert_eq!(bench.spoiler.set_aside().await, [], "{text:?}");
    }
}
