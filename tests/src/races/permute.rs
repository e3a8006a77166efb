//! Owns the permutations: each ordered pair of writing verbs on shared rows, both in flight at once, against the serial
//! orders on the in-memory store.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use tokio::task::JoinSet;
use tourbillon::{
    model::{ExecutionId, RequestId},
    store::Request,
};
use tourbillon_pg::DEFAULT_SCHEMA;
use uuid::Uuid;

use crate::cluster::Cluster;

use super::{
    explain::{Class, explain},
    scene::{Kind, PRIVATE, PRIVATE_JOB, Scene, Side},
    scene_locks::{Deed, Lock},
    stage::Stage,
};

/// Databases in which permutations are tried at once.
const LANES: usize = 3;

/// What the third session holds while the two calls start.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Hold {
    /// The row that only A asks for, its first: A waits with a snapshot that grows old, B passes.
    PrivateRow,
    /// A row in the middle: A waits with half of its locks, B behind it or behind A.
    MiddleRow,
    /// A late row: A waits with most of its locks.
    LateRow,
    /// All gates: A waits with all its rows, its clock read.
    Gates,
    /// The job that only A asks for.
    PrivateJob,
    /// A cursor: A waits with its jobs locked.
    Cursor,
    /// The rows by which rescues and requeues take turns.
    Turns,
    /// The gates by which producers of a queue with a bound take turns.
    QueueGate,
    /// All locks: whoever asks for one waits.
    Locks,
    /// The key of A's receipt: A waits with all its locks, so it commits first.
    Receipt,
}

impl Hold {
    fn sql(self, first: RequestId) -> String {
        let lock = |what: &str| format!("select 1 from {DEFAULT_SCHEMA}.{what} for update");
        let row = |number: u128| lock(&format!("execution where id = '{}'", Uuid::from_u128(number)));
        match self {
            Self::PrivateRow => row(PRIVATE),
            Self::MiddleRow => row(9),
            Self::LateRow => row(15),
            Self::Gates => lock("limit_gate order by key"),
            Self::PrivateJob => lock(&format!("job where name = '{PRIVATE_JOB}'")),
            Self::Cursor => lock("cursor where job = 'planned'"),
            Self::Turns => lock("meta"),
            Self::QueueGate => lock("queue_gate"),
            Self::Locks => lock("lock order by name"),
            Self::Receipt => {
                format!("insert into {DEFAULT_SCHEMA}.receipt values ('{first}', clock_timestamp(), '{{}}')")
            }
        }
    }

    /// Those that can stop this verb, and those that a claim passes over.
    const fn of(kind: Kind) -> &'static [Self] {
        match kind {
            Kind::ClaimRated => &[Self::Gates, Self::Receipt],
            Kind::Claim | Kind::ClaimTwo | Kind::ClaimHalf => &[Self::LateRow, Self::Gates, Self::Receipt],
            Kind::Start | Kind::Heartbeat => &[Self::PrivateRow, Self::MiddleRow, Self::LateRow],
            Kind::SettleOk | Kind::SettleFail | Kind::SettleRelease | Kind::SettleSnooze | Kind::SettleCancelled => {
                &[Self::PrivateRow, Self::MiddleRow, Self::LateRow, Self::Gates, Self::Receipt]
            }
            Kind::SettlePlain => &[Self::PrivateRow, Self::MiddleRow, Self::Receipt],
            Kind::SettleForgotten => &[Self::MiddleRow, Self::Receipt],
            Kind::Rescue => &[Self::Turns, Self::Gates],
            Kind::Cancel => &[Self::PrivateRow, Self::MiddleRow, Self::LateRow, Self::Receipt],
            Kind::Requeue => &[Self::Turns, Self::Receipt],
            Kind::Plan | Kind::PlanOne | Kind::EditScope => &[Self::PrivateJob, Self::Cursor, Self::Receipt],
            Kind::ClaimPlain | Kind::Enqueue | Kind::EnqueueOne | Kind::UpdateItem => &[Self::Receipt],
            Kind::DeleteWaiting | Kind::DeleteDead => &[Self::Turns, Self::Receipt],
            Kind::CleanItems => &[Self::Turns],
            Kind::EnqueueCounted => &[Self::QueueGate, Self::Receipt],
            Kind::Register | Kind::Edit => &[Self::PrivateJob, Self::Cursor],
            Kind::Pause | Kind::Resume | Kind::RemoveSchedule | Kind::Trigger => &[Self::Receipt],
            Kind::PauseScope | Kind::PutSchedule => &[Self::Cursor, Self::Receipt],
            Kind::Lock(Deed::Acquire, Lock::New) => &[Self::Receipt],
            Kind::Lock(Deed::Acquire, Lock::Released | Lock::Expired) => &[Self::Locks, Self::Receipt],
            Kind::Lock(..) => &[Self::Locks],
        }
    }

    /// Rows that nobody else can lock meanwhile; `None`: those of every limited row that waits.
    fn rows(self) -> BTreeSet<ExecutionId> {
        let number = match self {
            Self::PrivateRow => PRIVATE,
            Self::MiddleRow => 9,
            Self::LateRow => 15,
            _ => return BTreeSet::new(),
        };
        BTreeSet::from([ExecutionId(Uuid::from_u128(number))])
    }
}

/// Pairs whose batches may be ordered differently from row to row.
///
/// A requeue looks at finished rows and a claim, cancel or rescue at live ones, each in its own snapshot: of two
/// batches at once each may miss what the other makes. Executions do not depend on each other, so nothing is lost.
const ROW_BY_ROW: &[[Kind; 2]] = &[
    [Kind::Requeue, Kind::Claim],
    [Kind::Requeue, Kind::ClaimTwo],
    [Kind::Requeue, Kind::ClaimHalf],
    [Kind::Requeue, Kind::Cancel],
    [Kind::Requeue, Kind::Rescue],
    [Kind::Rescue, Kind::Cancel],
];

/// Two calls to be tried.
#[derive(Clone, Copy, Debug)]
struct Pair {
    first: Kind,
    second: Kind,
    hold: Hold,
    same_request: bool,
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let again = if self.same_request { ", the same request" } else { "" };
        write!(f, "{:?} then {:?}{again}, held {:?}", self.first, self.second, self.hold)
    }
}

/// Every ordered pair, and every verb with itself under one request id.
fn pairs() -> Vec<Pair> {
    let mut pairs = Vec::new();
    for first in Kind::ALL {
        for hold in Hold::of(first).iter().copied() {
            pairs.push(Pair { first, second: first, hold, same_request: true });
            pairs.extend(Kind::ALL.map(|second| Pair { first, second, hold, same_request: false }));
        }
    }
    for first in Kind::locks() {
        for hold in Hold::of(first).iter().copied() {
            pairs.push(Pair { first, second: first, hold, same_request: true });
            pairs.extend(Kind::locks().map(|second| Pair { first, second, hold, same_request: false }));
        }
    }
    pairs
}

/// Counts over all lanes.
#[derive(Debug, Default)]
struct Tally {
    classes: BTreeMap<Class, usize>,
    both_waited: usize,
    one_waited: usize,
    none_waited: usize,
    findings: Vec<String>,
}

/// Findings after which a lane stops: a broken store may need its deadline for each.
const ENOUGH: usize = 8;

/// Runs all permutations; `Err` holds those that no serial order explains.
pub(crate) async fn run(cluster: &Cluster) -> Result<(), String> {
    let runtime = tourbillon::runtime::Runtime::tokio();
    let scene = Arc::new(Scene::new());
    let (pairs, began) = (pairs(), runtime.monotonic());
    let mut lanes = JoinSet::new();
    for lane in 0..LANES {
        let mine: Vec<Pair> = pairs.iter().copied().skip(lane).step_by(LANES).collect();
        let (scene, url) = (Arc::clone(&scene), cluster.fresh_database());
        lanes.spawn(async move { walk(&url, &scene, mine).await });
    }
    let mut total = Tally::default();
    for tally in lanes.join_all().await {
        total.both_waited += tally.both_waited;
        total.one_waited += tally.one_waited;
        total.none_waited += tally.none_waited;
        total.findings.extend(tally.findings);
        for (class, n) in tally.classes {
            *total.classes.entry(class).or_default() += n;
        }
    }
    let took = runtime.monotonic().since(began);
    println!(
        "permutations: {} interleavings of {} verbs in {:.1} s; both waited {}, one waited {}, none {}; {:?}",
        pairs.len(),
        Kind::ALL.len() + Kind::locks().len(),
        took.as_secs_f64(),
        total.both_waited,
        total.one_waited,
        total.none_waited,
        total.classes,
    );
    if total.findings.is_empty() {
        return Ok(());
    }
    Err(format!(
        "{} of {}:\n{}",
        total.findings.len(),
        pairs.len(),
        total.findings[..total.findings.len().min(8)].join("\n")
    ))
}

async fn walk(url: &str, scene: &Scene, pairs: Vec<Pair>) -> Tally {
    let mut stage = Stage::new(url, scene).await;
    let mut tally = Tally::default();
    for (n, pair) in pairs.into_iter().enumerate() {
        if tally.findings.len() >= ENOUGH {
            break;
        }
        let first = request(scene, pair.first, Side::A, n);
        let second = if pair.same_request { first.clone() } else { request(scene, pair.second, Side::B, n) };
        let requests = [first, second];
        let hold = pair.hold.sql(requests[0].id);
        let meeting = stage.meet(&hold, requests[0].clone(), requests[1].clone()).await;
        let explained = meeting.and_then(|meeting| {
            match meeting.waited.iter().filter(|waited| **waited).count() {
                0 => tally.none_waited += 1,
                1 => tally.one_waited += 1,
                _ => tally.both_waited += 1,
            }
            if meeting.wrong_gates > 0 {
                return Err(format!("{} gates are wrong after {:?}", meeting.wrong_gates, meeting.answers));
            }
            let locked = [locked_by_others(scene, pair, 0), locked_by_others(scene, pair, 1)];
            explain(scene, &requests, &locked, &meeting)
        });
        match explained {
            Ok(Class::RowByRow)
                if !ROW_BY_ROW.iter().any(|kinds| kinds.contains(&pair.first) && kinds.contains(&pair.second)) =>
            {
                tally
                    .findings
                    .push(format!("{pair}: holds for each row, and for the two batches as a whole it does not"));
            }
            Ok(class) => *tally.classes.entry(class).or_default() += 1,
            Err(finding) => tally.findings.push(format!("{pair}: {finding}")),
        }
    }
    tally
}

fn request(scene: &Scene, kind: Kind, side: Side, n: usize) -> Request {
    let id = Uuid::from_u64_pair(if side == Side::A { 0xaa } else { 0xbb }, n as u64);
    Request { id: RequestId(id), verb: scene.verb(kind, side) }
}

/// Rows that call `n` may find locked, with those whose gate may be locked.
fn locked_by_others(scene: &Scene, pair: Pair, n: usize) -> BTreeSet<ExecutionId> {
    let other = if n == 0 { (pair.second, Side::B) } else { (pair.first, Side::A) };
    let other = if pair.same_request { (pair.first, Side::A) } else { other };
    let mut rows = scene.touches(other.0, other.1);
    rows.extend(pair.hold.rows());
    let limited = scene.start.iter().filter_map(|row| Some((row.id, row.policy.limit.as_ref()?.key.as_str())));
    let keys: BTreeSet<&str> = limited
        .clone()
        .filter_map(|(id, key)| (pair.hold == Hold::Gates || rows.contains(&id)).then_some(key))
        .collect();
    rows.extend(limited.filter_map(|(id, key)| keys.contains(key).then_some(id)));
    rows
}
