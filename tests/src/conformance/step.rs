//! Owns the alphabet of generated sequences: short steps that name rows and leases by their place in what has
//! happened so far, so that a sequence stays meaningful while it is shrunk.

use proptest::{
    collection::vec,
    prelude::{Just, Strategy, any},
    prop_oneof,
    sample::select,
};
use tourbillon::model::{Retention, transition::Charge};

/// Which of the leases handed out so far: counted from the newest, modulo their number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pick {
    pub(super) back: u8,
    pub(super) forged: Forged,
}

/// What is wrong with a lease that a runner shows.
#[derive(Clone, Copy, Debug)]
pub(super) enum Forged {
    Nothing,
    Token,
    Fence,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Ending {
    Succeeded,
    RetryMs(u64),
    NoRetry,
    Released,
    SnoozedMs(u64),
    Cancelled,
}

/// A row to make. Its slot lies `back` grid steps before the cursor's new place.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub(super) back: u8,
    pub(super) due_ms: i64,
    pub(super) expires_ms: Option<i64>,
    pub(super) priority: i16,
    pub(super) max_attempts: u32,
    pub(super) lease_ms: u64,
    pub(super) reentry: bool,
    pub(super) newest_only: bool,
    pub(super) limit: Option<(u8, u32)>,
    /// Index into `Audit::ALL`.
    pub(super) audit: u8,
}

/// A queue item to make. Keys are few, so that they meet.
#[derive(Clone, Debug)]
pub(super) struct ItemShape {
    /// Of an item made before, counted from the newest.
    pub(super) id_of: Option<u8>,
    pub(super) delay_ms: Option<u64>,
    pub(super) ttl_ms: Option<u64>,
    pub(super) key: Option<u8>,
    pub(super) period_ms: Option<u64>,
    pub(super) counts: u8,
    pub(super) shape: Shape,
}

/// One step. Jobs, scopes, specs and schedules are small numbers.
#[derive(Clone, Debug)]
pub(super) enum Step {
    PassMs(i64),
    PassMicros(i64),
    Register {
        job: u8,
        spec: u8,
        schedule: u8,
    },
    Plan {
        job: u8,
        scope: u8,
        stale_cursor: bool,
        stale_spec: bool,
        /// 0 to 9: that of the cursor; 10: none; 11, 12: one of two.
        schedule: u8,
        ahead: i8,
        rows: Vec<Shape>,
        skipped: u8,
    },
    Enqueue {
        job: u8,
        max_items: Option<u64>,
        items: Vec<ItemShape>,
    },
    Claim {
        jobs: Vec<u8>,
        limit: u32,
        charge: Charge,
        /// A rate for the first job alone: whether all have one key, milliseconds of a turn, burst.
        rate: Option<(bool, u64, u32)>,
    },
    Start(Vec<Pick>),
    Heartbeat(Vec<Pick>),
    Settle(Vec<(Pick, Ending, Retention)>),
    Rescue {
        limit: u32,
    },
    Cancel(Vec<u8>),
    Requeue(Vec<u8>),
    /// The same request once more, counted from the newest.
    Repeat {
        back: u8,
    },
    Prune {
        history_ms: u64,
        receipts_ms: u64,
        limit: u32,
    },
    /// Of a job, or of its scope 0 or 1.
    Pause {
        job: u8,
        scope: Option<u8>,
    },
    Resume {
        job: u8,
        scope: Option<u8>,
    },
    /// Of scope 0 or 1; schedules are small numbers, and what is expected is a revision, counted from 0 for none.
    PutSchedule {
        job: u8,
        scope: u8,
        schedule: u8,
        expected: Option<u32>,
    },
    RemoveSchedule {
        job: u8,
        scope: u8,
        expected: Option<u32>,
    },
    /// Of an execution made before, counted from the newest, or a new one.
    Trigger {
        job: u8,
        id_of: Option<u8>,
        shape: Shape,
    },
    /// Locks are small numbers.
    Acquire {
        lock: u8,
        ttl_ms: u64,
    },
    Renew(Pick),
    ReleaseLock(Pick),
    /// Of the row counted from the newest, with a new payload, a priority, and a delay or a time.
    UpdateItem {
        job: u8,
        back: u8,
        payload: Option<u8>,
        priority: Option<i16>,
        delay_ms: Option<u64>,
        run_ms: Option<i64>,
    },
    DeleteItems {
        job: u8,
        backs: Vec<u8>,
    },
    CleanItems {
        job: u8,
        /// Bits of the four terminal states.
        states: u8,
        finished_ms: u64,
        limit: u32,
    },
    ListItems {
        job: u8,
        states: u8,
        due_now: bool,
        /// Index into `ItemOrder::ALL`.
        order: u8,
        descending: bool,
        newest: bool,
        offset: u32,
        limit: u32,
    },
    List {
        job: u8,
        states: u8,
        back: u8,
        limit: u32,
    },
}

fn claim() -> impl Strategy<Value = Step> {
    let charge = select(vec![Charge::AtStart, Charge::AtClaimIfHarmless, Charge::AtClaim]);
    let rate = (any::<bool>(), select(vec![1, 999, 5_000, 30_000]), 1..4u32);
    (vec(0..3u8, 1..4), 1..5u32, charge, proptest::option::weighted(0.3, rate))
        .prop_map(|(jobs, limit, charge, rate)| Step::Claim { jobs, limit, charge, rate })
}

pub(super) fn sequence() -> impl Strategy<Value = Vec<Step>> {
    vec(step(), 1..60)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => select(vec![1, 999, 1_000, 4_000, 5_000, 10_000, 20_000, 60_000, 600_000]).prop_map(Step::PassMs),
        1 => select(vec![-1, -5_000, -30_000, -600_000]).prop_map(Step::PassMs),
        1 => select(vec![1, -1]).prop_map(Step::PassMicros),
        2 => (0..3u8, 0..2u8, 0..6u8)
            .prop_map(|(job, spec, schedule)| Step::Register { job, spec, schedule: schedule / 5 }),
        8 => plan(),
        6 => (0..3u8, proptest::option::weighted(0.3, 0..4u64), vec(item(), 1..4))
            .prop_map(|(job, max_items, items)| Step::Enqueue { job, max_items, items }),
        8 => claim(),
        6 => vec(pick(), 1..4).prop_map(Step::Start),
        3 => vec(pick(), 1..4).prop_map(Step::Heartbeat),
        6 => vec((pick(), ending(), retention()), 1..4).prop_map(Step::Settle),
        3 => (1..4u32).prop_map(|limit| Step::Rescue { limit }),
        2 => vec(0..12u8, 1..4).prop_map(Step::Cancel),
        2 => vec(0..12u8, 1..4).prop_map(Step::Requeue),
        3 => (0..8u8).prop_map(|back| Step::Repeat { back }),
        1 => (0..3u64, 0..3u64, 1..4u32).prop_map(|(history, receipts, limit)| Step::Prune {
            history_ms: history * 30_000,
            receipts_ms: receipts * 30_000,
            limit,
        }),
        2 => (0..4u8, rarely(0..2u8)).prop_map(|(job, scope)| Step::Pause { job, scope }),
        3 => (0..3u8, rarely(0..2u8)).prop_map(|(job, scope)| Step::Resume { job, scope }),
        3 => (0..4u8, 0..2u8, 0..3u8, rarely(0..4u32)).prop_map(|(job, scope, schedule, expected)| {
            Step::PutSchedule { job, scope, schedule, expected }
        }),
        2 => (0..3u8, 0..2u8, rarely(0..4u32))
            .prop_map(|(job, scope, expected)| Step::RemoveSchedule { job, scope, expected }),
        2 => (0..4u8, rarely(0..12u8), shape()).prop_map(|(job, id_of, shape)| Step::Trigger { job, id_of, shape }),
        4 => (0..3u8, select(vec![1, 5_000, 60_000])).prop_map(|(lock, ttl_ms)| Step::Acquire { lock, ttl_ms }),
        3 => pick().prop_map(Step::Renew),
        2 => pick().prop_map(Step::ReleaseLock),
        2 => (0..3u8, 0..12u8, rarely(0..3u8), rarely(-1..2i16), rarely(0..20_000u64), rarely(-9_000..9_000i64))
            .prop_map(|(job, back, payload, priority, delay_ms, run_ms)| Step::UpdateItem {
                job,
                back,
                payload,
                priority,
                delay_ms,
                run_ms,
            }),
        2 => (0..3u8, vec(0..12u8, 1..4)).prop_map(|(job, backs)| Step::DeleteItems { job, backs }),
        2 => (0..3u8, 0..16u8, 0..3u64, 1..4u32).prop_map(|(job, states, finished, limit)| Step::CleanItems {
            job,
            states,
            finished_ms: finished * 10_000,
            limit,
        }),
        1 => (0..3u8, any::<u8>(), 0..4u8, any::<[bool; 3]>(), 0..3u32, 1..5u32).prop_map(
            |(job, states, order, [due_now, descending, newest], offset, limit)| Step::ListItems {
                job,
                states,
                due_now,
                order,
                descending,
                newest,
                offset,
                limit,
            },
        ),
        1 => (0..4u8, any::<u8>(), 0..12u8, 1..5u32)
            .prop_map(|(job, states, back, limit)| Step::List { job, states, back, limit }),
    ]
}

fn rarely<T: std::fmt::Debug>(values: impl Strategy<Value = T>) -> impl Strategy<Value = Option<T>> {
    proptest::option::weighted(0.4, values)
}

fn plan() -> impl Strategy<Value = Step> {
    let rare = || proptest::bool::weighted(0.1);
    let stale = (rare(), rare());
    (0..3u8, 0..2u8, stale, 0..13u8, select(vec![0, 0, 0, 1, -1, 3]), vec(shape(), 0..4), 0..4u8).prop_map(
        |(job, scope, (stale_cursor, stale_spec), schedule, ahead, rows, skipped)| Step::Plan {
            job,
            scope,
            stale_cursor,
            stale_spec,
            schedule,
            ahead,
            rows,
            skipped,
        },
    )
}

fn shape() -> impl Strategy<Value = Shape> {
    let times = (0..4u8, select(vec![0, 0, 0, -5_000, 1_000]), proptest::option::weighted(0.3, 0..30_000i64));
    let policy = (1..4u32, select(vec![1, 5_000, 60_000]), any::<bool>(), any::<bool>());
    let limit = proptest::option::weighted(0.4, (0..2u8, 1..3u32));
    let audit = select(vec![0, 1, 2, 2]);
    (times, select(vec![0, 0, -1, 7]), policy, limit, audit).prop_map(|(times, priority, policy, limit, audit)| {
        Shape {
            back: times.0,
            due_ms: times.1,
            expires_ms: times.2,
            priority,
            max_attempts: policy.0,
            lease_ms: policy.1,
            reentry: policy.2,
            newest_only: policy.3,
            limit,
            audit,
        }
    })
}

fn item() -> impl Strategy<Value = ItemShape> {
    let rarely = proptest::option::weighted::<std::ops::Range<u8>>;
    let due =
        (select(vec![Some(0), Some(0), Some(1_000), None]), select(vec![None, None, Some(5_000), Some(30_000)]));
    let unique = (rarely(0.6, 0..3u8), select(vec![None, None, Some(1), Some(10_000)]), 0..3u8);
    (rarely(0.1, 0..6u8), due, unique, shape()).prop_map(|(id_of, due, unique, shape)| ItemShape {
        id_of,
        delay_ms: due.0,
        ttl_ms: due.1,
        key: unique.0,
        period_ms: unique.1,
        counts: unique.2,
        shape,
    })
}

fn pick() -> impl Strategy<Value = Pick> {
    let forged = prop_oneof![
        10 => Just(Forged::Nothing),
        1 => Just(Forged::Token),
        1 => Just(Forged::Fence),
    ];
    (0..6u8, forged).prop_map(|(back, forged)| Pick { back, forged })
}

fn retention() -> impl Strategy<Value = Retention> {
    select(vec![Retention::Everything, Retention::Everything, Retention::Failures, Retention::Nothing])
}

fn ending() -> impl Strategy<Value = Ending> {
    prop_oneof![
        3 => Just(Ending::Succeeded),
        3 => select(vec![0, 1_000, 60_000]).prop_map(Ending::RetryMs),
        1 => Just(Ending::NoRetry),
        2 => Just(Ending::Released),
        1 => select(vec![0, 1_000, 60_000]).prop_map(Ending::SnoozedMs),
        1 => Just(Ending::Cancelled),
    ]
}
