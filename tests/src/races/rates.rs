//! Owns the race of many claimers for the turns of a few keys: on all of them together no key begins more often than its
//! rate says, by the database's clock, and none is starved.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tourbillon::{
    model::{
        Audit, ExecutionId, Incarnation, JobName, Limit, Outcome, Policy, Rate, Reentry, RequestId, Scope, Supersede,
        Timestamp, transition::Charge,
    },
    store::{Claim, Due, Enqueue, NewItem, Operation, Request, Settle, Settlement, Store, Verb},
};

use super::{arena::Arena, enough::Enough, race::seed, work::Chance};

const CLAIMERS: usize = 8;
const KEYS: usize = 3;
const ITEMS: usize = 300;

/// A turn each, in microseconds of the database clock.
const TURN_US: u64 = 20_000;
const BURST: u32 = 3;

/// Runs it for this long, and until every key has gone on after its first burst, on the arena's handles.
pub(crate) async fn run(arena: &Arena, lasting: Duration) -> Result<(), String> {
    let mut chance = Chance(seed());
    let queue = JobName::new("rates").expect("a plain name");
    let items = (0..ITEMS).map(|n| item(&mut chance, n % KEYS)).collect();
    let enqueue = Enqueue { queue: queue.clone(), max_items: None, items };
    ask(&arena.handles[0], &mut chance, enqueue).await?;
    let enough = Enough::of([BURST as usize + 1; KEYS]);
    let mut claimers = tokio::task::JoinSet::new();
    for n in 0..CLAIMERS {
        let store = Arc::clone(&arena.handles[n % arena.handles.len()]);
        let (chance, queue, enough) = (Chance(seed() + 1 + n as u64), queue.clone(), Arc::clone(&enough));
        claimers.spawn(async move { take_turns(store, chance, queue, &enough).await });
    }
    let too_little = enough.end_after(lasting).await;
    let mut taken: BTreeMap<String, Vec<Timestamp>> = BTreeMap::new();
    for claims in claimers.join_all().await {
        for (key, at) in claims? {
            taken.entry(key).or_default().push(at);
        }
    }
    judge(taken)?;
    too_little.map_or(Ok(()), Err)
}

/// Claims, and gives back at once what it took, so that there is always enough to take.
async fn take_turns(
    store: Arc<dyn Store>,
    mut chance: Chance,
    queue: JobName,
    enough: &Enough<KEYS>,
) -> Result<Vec<(String, Timestamp)>, String> {
    let mut taken = Vec::new();
    while !enough.is_over() {
        let claim = Claim {
            runner: Incarnation(chance.uuid()),
            jobs: vec![queue.clone()],
            limit: 1 + chance.below(7) as u32,
            charge: Charge::AtStart,
            rate: Some(Rate { key: None, turn_us: TURN_US, burst: BURST }),
        };
        let claimed = ask(&store, &mut chance, claim).await?;
        let mut settlements = Vec::new();
        for row in &claimed.executions {
            let (Some(limit), Some(lease)) = (&row.policy.limit, &row.lease) else {
                return Err("a row without a key".to_owned());
            };
            taken.push((limit.key.clone(), lease.claimed_at));
            enough.meet((0..KEYS).find(|n| key(*n) == limit.key).ok_or("a key that no row has")?, 1);
            settlements.extend(row.lease_ref().map(|lease| Settlement::of(lease, Outcome::Released)));
        }
        if !settlements.is_empty() {
            ask(&store, &mut chance, Settle { settlements }).await?;
        }
    }
    Ok(taken)
}

/// No window of a few turns has more claims than were promised.
fn judge(taken: BTreeMap<String, Vec<Timestamp>>) -> Result<(), String> {
    for n in 0..KEYS {
        let key = key(n);
        let mut at: Vec<i64> = taken.get(&key).into_iter().flatten().map(|at| at.as_micros()).collect();
        at.sort_unstable();
        for within in [1, 2, 5, 10] {
            let most = BURST as usize - 1 + within;
            let window = TURN_US as i64 * within as i64;
            if let Some(first) =
                (0..at.len()).find(|first| at.get(first + most).is_some_and(|n| *n < at[*first] + window))
            {
                return Err(format!("{key}: more than {most} claims within {window} us of {}", at[first]));
            }
        }
    }
    Ok(())
}

fn key(n: usize) -> String {
    format!("key {n}")
}

fn item(chance: &mut Chance, n: usize) -> NewItem {
    NewItem {
        id: ExecutionId(chance.uuid()),
        scope: Scope::global(),
        due: Due::AfterMs(0),
        ttl_ms: None,
        priority: 0,
        payload: None,
        unique: None,
        policy: Policy {
            max_attempts: 5,
            lease_ms: 60_000,
            reentry: Reentry::Allow,
            supersede: Supersede::Never,
            limit: Some(Limit { key: key(n), max: u32::MAX }),
            audit: Audit::Off,
        },
        trace: None,
    }
}

async fn ask<V: Operation>(store: &Arc<dyn Store>, chance: &mut Chance, verb: V) -> Result<V::Reply, String> {
    let verb: Verb = verb.into();
    let reply =
        store.call(Request { id: RequestId(chance.uuid()), verb }).await.map_err(|error| error.to_string())?;
    V::reply(reply).ok_or_else(|| "the reply of another verb".to_owned())
}
