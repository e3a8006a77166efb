//! Cases of rates (G15): how often rows of one limit key may be claimed, by the database clock.

use tourbillon::{
    model::{Execution, ExecutionId, JobName, Limit, MAX_TURN_US, Outcome, Rate, SkipReason, Timestamp, Turns},
    store::{Claim, Claimed, ErrorKind, NewItem, Prune, ReadQueueStats, ReadStats},
};

use super::subject::{LEASE_MS, Subject, claim_of, job, succeeded};

super::cases! {
    without_a_burst_turns_come_one_by_one,
    rest_leaves_as_many_turns_as_the_burst,
    key_that_never_took_a_turn_has_its_burst,
    each_key_has_turns_of_its_own,
    row_without_a_key_needs_no_turn,
    answer_says_when_the_next_key_gets_a_turn,
    answer_knows_nothing_of_other_queues,
    page_full_of_rows_without_a_turn_hides_nobody,
    key_in_common_without_a_turn_stops_the_claim,
    turn_is_not_taken_where_there_is_no_room,
    row_that_has_no_turn_takes_no_place,
    row_that_is_taken_over_needs_a_turn_and_no_room,
    skipped_row_takes_no_turn,
    row_that_is_skipped_while_it_runs_gives_its_place_back,
    released_row_has_used_its_turn,
    repeated_claim_takes_no_turn,
    refused_row_stays_as_it_was,
    claim_without_a_rate_neither_needs_nor_takes_a_turn,
    slower_rate_of_before_is_not_waited_for,
    slower_rate_of_before_is_not_waited_for_by_a_key_in_common,
    requeued_row_needs_a_turn_like_any_other,
    step_back_shuts_nothing_for_longer_than_it_was,
    step_forward_leaves_no_more_than_the_burst,
    rate_that_nothing_can_keep_is_invalid,
    turns_of_a_key_that_rests_are_forgotten,
    turns_that_count_are_kept,
    figures_say_how_turns_stand,
    figures_know_the_rate_that_the_last_turn_was_taken_under,
}

const SECOND: i64 = 1_000;

fn queue() -> JobName {
    job("mail")
}

/// A turn a second.
fn rate(burst: u32) -> Rate {
    Rate { key: None, turn_us: 1_000_000, burst }
}

async fn add(s: &Subject, n: usize, key: &str) -> Vec<ExecutionId> {
    let mut ids = Vec::new();
    for _ in 0..n {
        ids.push(add_with(s, key, u32::MAX).await);
    }
    ids
}

async fn add_with(s: &Subject, key: &str, max: u32) -> ExecutionId {
    s.enqueue_one(&queue(), |item| item.policy.limit = Some(Limit { key: key.to_owned(), max })).await
}

async fn claim(s: &Subject, rate: &Rate) -> Claimed {
    s.call(at(rate, 100)).await
}

fn at(rate: &Rate, limit: u32) -> Claim {
    Claim { rate: Some(rate.clone()), ..claim_of(&[&queue()], limit) }
}

async fn taken(s: &Subject, rate: &Rate) -> Vec<ExecutionId> {
    claim(s, rate).await.executions.iter().map(|row| row.id).collect()
}

/// G15.
async fn without_a_burst_turns_come_one_by_one(s: &Subject) {
    add(s, 5, "a").await;
    for _ in 0..3 {
        assert_eq!(taken(s, &rate(1)).await.len(), 1);
        assert_eq!(taken(s, &rate(1)).await, []);
        s.pass(SECOND - 1);
        assert_eq!(taken(s, &rate(1)).await, []);
        s.pass(1);
    }
    // What was not used is gone.
    s.pass(100 * SECOND);
    assert_eq!(taken(s, &rate(1)).await.len(), 1);
}

/// G15.
async fn rest_leaves_as_many_turns_as_the_burst(s: &Subject) {
    add(s, 20, "a").await;
    assert_eq!(taken(s, &rate(3)).await.len(), 3);
    s.pass(SECOND);
    assert_eq!(taken(s, &rate(3)).await.len(), 1);
    s.pass(2 * SECOND + 500);
    assert_eq!(taken(s, &rate(3)).await.len(), 2);
    s.pass(500);
    assert_eq!(taken(s, &rate(3)).await.len(), 1);
    s.pass(1_000 * SECOND);
    assert_eq!(taken(s, &rate(3)).await.len(), 3);
}

async fn key_that_never_took_a_turn_has_its_burst(s: &Subject) {
    add(s, 5, "a").await;
    assert_eq!(s.call(at(&rate(4), 3)).await.executions.len(), 3);
    assert_eq!(taken(s, &rate(4)).await.len(), 1);
}

async fn each_key_has_turns_of_its_own(s: &Subject) {
    for key in ["a", "A", "a "] {
        add(s, 2, key).await;
    }
    assert_eq!(taken(s, &rate(1)).await.len(), 3);
    assert_eq!(taken(s, &rate(1)).await.len(), 0);
}

async fn row_without_a_key_needs_no_turn(s: &Subject) {
    add(s, 2, "a").await;
    for _ in 0..3 {
        s.enqueue_one(&queue(), |_| {}).await;
    }
    assert_eq!(taken(s, &rate(1)).await.len(), 4);
}

/// So that a crew can sleep until then.
async fn answer_says_when_the_next_key_gets_a_turn(s: &Subject) {
    assert_eq!(claim(s, &rate(2)).await.next_at, None, "none was ever taken");
    add(s, 5, "a").await;
    assert_eq!(claim(s, &rate(2)).await.next_at, Some(s.after(SECOND)));
    s.pass(400);
    add(s, 2, "b").await;
    assert_eq!(claim(s, &rate(2)).await.next_at, Some(s.after(600)), "that of a");
    s.pass(600);
    assert_eq!(claim(s, &rate(2)).await.next_at, Some(s.after(400)), "that of b, where nothing waits");
    s.pass(10 * SECOND);
    assert_eq!(claim(s, &rate(2)).await.executions.len(), 2);
    s.pass(10 * SECOND);
    assert_eq!(claim(s, &rate(2)).await.next_at, None, "all have");
    assert_eq!(s.call(claim_of(&[&queue()], 1)).await.next_at, None, "nobody asks");
}

async fn answer_knows_nothing_of_other_queues(s: &Subject) {
    add(s, 1, "a").await;
    assert_eq!(taken(s, &rate(1)).await.len(), 1);
    let other = Claim { rate: Some(rate(1)), ..claim_of(&[&job("other")], 1) };
    assert_eq!(s.call(other).await.next_at, None);
}

/// G14: a full page of ineligible rows stops nobody else.
async fn page_full_of_rows_without_a_turn_hides_nobody(s: &Subject) {
    add(s, 20, "a").await;
    let free = add(s, 1, "b").await;
    assert_eq!(s.call(at(&rate(1), 2)).await.executions.len(), 1);
    let rows = s.call(at(&rate(1), 2)).await.executions;
    assert_eq!(rows.iter().map(|row| row.id).collect::<Vec<_>>(), free);
}

/// However deep the backlog, such a claim looks at the gate alone; so it takes nothing else either.
async fn key_in_common_without_a_turn_stops_the_claim(s: &Subject) {
    let whole = Rate { key: Some("a".to_owned()), ..rate(1) };
    add(s, 2, "a").await;
    assert_eq!(taken(s, &whole).await.len(), 1);
    s.enqueue_one(&queue(), |_| {}).await;
    let shut = claim(s, &whole).await;
    assert_eq!((shut.executions.len(), shut.next_at), (0, Some(s.after(SECOND))));
    s.pass(SECOND);
    assert_eq!(taken(s, &whole).await.len(), 2);
}

/// G15: a rate and a limit have one key and do not wait for each other.
async fn turn_is_not_taken_where_there_is_no_room(s: &Subject) {
    for _ in 0..3 {
        add_with(s, "a", 1).await;
    }
    let first = claim(s, &rate(3)).await.executions;
    assert_eq!(first.len(), 1);
    let lease = first[0].lease_ref().expect("claimed");
    assert_eq!(taken(s, &rate(3)).await.len(), 0);
    s.settle(lease, Outcome::Released).await.expect("held");
    // Two of three turns are left: for this one, and for the next.
    for _ in 0..2 {
        let row = claim(s, &rate(3)).await.executions.remove(0);
        s.settle(row.lease_ref().expect("claimed"), Outcome::Released).await.expect("held");
    }
    assert_eq!(taken(s, &rate(3)).await.len(), 0);
}

/// G15.
async fn row_that_has_no_turn_takes_no_place(s: &Subject) {
    for _ in 0..3 {
        add_with(s, "a", 2).await;
    }
    for _ in 0..2 {
        assert_eq!(taken(s, &rate(1)).await.len(), 1);
        s.pass(SECOND);
    }
    assert_eq!(taken(s, &rate(1)).await.len(), 0, "two run");
}

async fn row_that_is_taken_over_needs_a_turn_and_no_room(s: &Subject) {
    let slow = Rate { turn_us: 2 * LEASE_MS * 1_000, ..rate(1) };
    let id = add_with(s, "a", 1).await;
    assert_eq!(taken(s, &slow).await, [id]);
    s.pass(LEASE_MS as i64 + 1);
    let early = claim(s, &slow).await;
    assert_eq!((early.executions.len(), early.next_at), (0, Some(s.after(LEASE_MS as i64 - 1))));
    s.pass(LEASE_MS as i64 - 1);
    assert_eq!(taken(s, &slow).await, [id]);
    assert_eq!(claim(s, &slow).await.next_at, Some(s.after(2 * LEASE_MS as i64)));
}

async fn skipped_row_takes_no_turn(s: &Subject) {
    let limit = Some(Limit { key: "a".to_owned(), max: u32::MAX });
    let short = |item: &mut NewItem| {
        item.ttl_ms = Some(10);
        item.policy.limit = limit.clone();
    };
    let late = s.enqueue_one(&queue(), short).await;
    s.pass(11);
    let id = add(s, 1, "a").await;
    let claimed = claim(s, &rate(1)).await;
    assert_eq!(claimed.skipped, [(late, SkipReason::Expired)]);
    assert_eq!(claimed.executions.iter().map(|row| row.id).collect::<Vec<_>>(), id);
    let lease = claimed.executions[0].lease_ref().expect("claimed");
    s.start(lease).await.expect("held");
    s.settle(lease, succeeded()).await.expect("it has the place that it gives back");
}

/// Its process died before it started, and now it is too late.
async fn row_that_is_skipped_while_it_runs_gives_its_place_back(s: &Subject) {
    let late = s.item_with(|item| {
        item.ttl_ms = Some(10);
        item.policy.limit = Some(Limit { key: "a".to_owned(), max: 1 });
    });
    let id = late.id;
    s.enqueue(&queue(), vec![late]).await;
    assert_eq!(taken(s, &rate(9)).await, [id]);
    s.pass(LEASE_MS as i64 + 1);
    assert_eq!(claim(s, &rate(9)).await.skipped, [(id, SkipReason::Expired)]);
    let next = add_with(s, "a", 1).await;
    assert_eq!(taken(s, &rate(9)).await, [next]);
}

/// What is charged is the claim: whoever asked for it may have sent already, and died.
async fn released_row_has_used_its_turn(s: &Subject) {
    add(s, 1, "a").await;
    let row = claim(s, &rate(1)).await.executions.remove(0);
    s.settle(row.lease_ref().expect("claimed"), Outcome::Released).await.expect("held");
    assert_eq!(taken(s, &rate(1)).await, []);
    s.pass(SECOND);
    assert_eq!(taken(s, &rate(1)).await, [row.id]);
}

/// A reply that is lost costs no turn.
async fn repeated_claim_takes_no_turn(s: &Subject) {
    add(s, 4, "a").await;
    let request = s.request(at(&rate(2), 1));
    let first = s.repeat::<Claim>(&request).await;
    s.pass(100);
    let again = s.repeat::<Claim>(&request).await;
    let ids = |claimed: &Claimed| claimed.executions.iter().map(|row| row.id).collect::<Vec<_>>();
    assert_eq!(ids(&again), ids(&first));
    assert_eq!(again.next_at, None);
    assert_eq!(taken(s, &rate(2)).await.len(), 1, "the second of two");
}

async fn refused_row_stays_as_it_was(s: &Subject) {
    let ids = add(s, 2, "a").await;
    let first = taken(s, &rate(1)).await;
    let other = ids.into_iter().find(|id| !first.contains(id)).expect("one of two is taken");
    let before: Execution = s.get(other).await;
    s.pass(10);
    assert_eq!(taken(s, &rate(1)).await, []);
    assert_eq!(s.get(other).await, before);
}

async fn claim_without_a_rate_neither_needs_nor_takes_a_turn(s: &Subject) {
    add(s, 5, "a").await;
    assert_eq!(s.call(claim_of(&[&queue()], 2)).await.executions.len(), 2);
    assert_eq!(taken(s, &rate(1)).await.len(), 1);
    assert_eq!(s.call(claim_of(&[&queue()], 1)).await.executions.len(), 1);
    s.pass(SECOND);
    assert_eq!(taken(s, &rate(1)).await.len(), 1);
}

/// A deployment that raises the rate need not wait for the end of a day.
async fn slower_rate_of_before_is_not_waited_for(s: &Subject) {
    add(s, 3, "a").await;
    add(s, 1, "b").await;
    let daily = Rate { turn_us: 86_400_000_000, ..rate(1) };
    assert_eq!(taken(s, &daily).await.len(), 2);
    assert_eq!(claim(s, &rate(1)).await.next_at, Some(s.after(SECOND)));
    s.pass(SECOND);
    let claimed = claim(s, &rate(1)).await;
    assert_eq!(claimed.executions.len(), 1);
    assert_eq!(claimed.next_at, Some(s.after(SECOND)), "that of a: b has one now, and nothing that waits");
    assert_eq!(taken(s, &rate(1)).await.len(), 0);
}

async fn slower_rate_of_before_is_not_waited_for_by_a_key_in_common(s: &Subject) {
    add(s, 2, "a").await;
    let whole = |turn_us| Rate { key: Some("a".to_owned()), turn_us, burst: 1 };
    assert_eq!(taken(s, &whole(86_400_000_000)).await.len(), 1);
    s.pass(SECOND);
    assert_eq!(taken(s, &whole(1_000_000)).await.len(), 1);
}

async fn requeued_row_needs_a_turn_like_any_other(s: &Subject) {
    let id = add(s, 1, "a").await[0];
    let lease = claim(s, &rate(1)).await.executions[0].lease_ref().expect("claimed");
    s.start(lease).await.expect("held");
    s.settle(lease, super::subject::failed_for_good()).await.expect("held");
    s.requeue(id).await;
    assert_eq!(taken(s, &rate(1)).await, []);
    s.pass(SECOND);
    assert_eq!(taken(s, &rate(1)).await, [id]);
}

/// The wait is what it was at the time that was withdrawn, from when a rescue has seen the step (G5).
async fn step_back_shuts_nothing_for_longer_than_it_was(s: &Subject) {
    add(s, 8, "a").await;
    s.rescue().await;
    s.pass(3_600 * SECOND);
    s.rescue().await;
    assert_eq!(taken(s, &rate(2)).await.len(), 2);
    s.pass(-3_600 * SECOND);
    assert_eq!(taken(s, &rate(2)).await.len(), 0);
    s.rescue().await;
    assert_eq!(claim(s, &rate(2)).await.next_at, Some(s.after(SECOND)));
    s.pass(SECOND);
    assert_eq!(taken(s, &rate(2)).await.len(), 1);
    // Neither is a turn gained.
    s.pass(3_600 * SECOND);
    assert_eq!(taken(s, &rate(2)).await.len(), 2);
}

async fn step_forward_leaves_no_more_than_the_burst(s: &Subject) {
    add(s, 8, "a").await;
    assert_eq!(taken(s, &rate(2)).await.len(), 2);
    s.pass(86_400 * SECOND);
    assert_eq!(taken(s, &rate(2)).await.len(), 2);
    assert_eq!(taken(s, &rate(2)).await.len(), 0);
}

async fn rate_that_nothing_can_keep_is_invalid(s: &Subject) {
    let wrong = [
        Rate { turn_us: 0, ..rate(1) },
        Rate { turn_us: MAX_TURN_US + 1, ..rate(1) },
        rate(0),
        Rate { turn_us: MAX_TURN_US, ..rate(3) },
    ];
    for rate in wrong {
        assert_eq!(s.refused(at(&rate, 1)).await.kind(), ErrorKind::Invalid, "{rate:?}");
    }
    for jobs in [vec![], vec![queue(), job("other")]] {
        let claim = Claim { jobs, ..at(&rate(1), 1) };
        assert_eq!(s.refused(claim).await.kind(), ErrorKind::Invalid);
    }
    // The widest are kept.
    add(s, 2, "a").await;
    let widest = Rate { turn_us: MAX_TURN_US, ..rate(2) };
    assert_eq!(taken(s, &widest).await.len(), 2);
    let next: Option<Timestamp> = claim(s, &widest).await.next_at;
    assert_eq!(next, Some(s.after(366 * 86_400 * SECOND)));
    let quickest = Rate { turn_us: 1, burst: u32::MAX, key: None };
    s.pass(1);
    add(s, 2, "a").await;
    assert_eq!(taken(s, &quickest).await.len(), 2);
}

/// What both verbs for figures say of the queue, which must hold a live item.
async fn turns(s: &Subject) -> Option<Turns> {
    let turns = s.call(ReadQueueStats { queue: queue() }).await.turns;
    assert_eq!(s.call(ReadStats {}).await.jobs[&queue()].turns, turns);
    turns
}

async fn figures_say_how_turns_stand(s: &Subject) {
    let other = job("sms");
    s.enqueue_one(&other, |_| {}).await;
    add(s, 3, "a").await;
    assert_eq!(turns(s).await, None);
    // A claim without a rate takes no turn, and so knows of none.
    s.call(claim_of(&[&other], 100)).await;
    assert_eq!(turns(s).await, None);
    assert_eq!(taken(s, &rate(1)).await.len(), 1);
    let stand = |shut, next_at| Some(Turns { turn_us: 1_000_000, burst: 1, shut, next_at });
    assert_eq!(turns(s).await, stand(1, Some(s.after(SECOND))));
    s.pass(400);
    add(s, 1, "b").await;
    assert_eq!(taken(s, &rate(1)).await.len(), 1);
    assert_eq!(turns(s).await, stand(2, Some(s.after(600))));
    s.pass(600);
    assert_eq!(turns(s).await, stand(1, Some(s.after(400))));
    s.pass(400);
    assert_eq!(turns(s).await, stand(0, None));
    assert_eq!(s.call(ReadStats {}).await.jobs[&other].turns, None);
    assert_eq!(s.call(ReadQueueStats { queue: job("nobody") }).await.turns, None);
}

async fn figures_know_the_rate_that_the_last_turn_was_taken_under(s: &Subject) {
    add(s, 9, "a").await;
    assert_eq!(taken(s, &rate(3)).await.len(), 3);
    let next_at = Some(s.after(SECOND));
    assert_eq!(turns(s).await, Some(Turns { turn_us: 1_000_000, burst: 3, shut: 1, next_at }));
    s.pass(SECOND);
    let slower = Rate { turn_us: 10_000_000, ..rate(1) };
    assert_eq!(taken(s, &slower).await.len(), 1);
    let next_at = Some(s.after(10 * SECOND));
    assert_eq!(turns(s).await, Some(Turns { turn_us: 10_000_000, burst: 1, shut: 1, next_at }));
    // A step back of the clock moves the instant, and leaves the rate.
    s.rescue().await;
    s.pass(-5 * SECOND);
    s.rescue().await;
    let next_at = Some(s.after(10 * SECOND));
    assert_eq!(turns(s).await, Some(Turns { turn_us: 10_000_000, burst: 1, shut: 1, next_at }));
}

fn prune(receipts_ms: u64, limit: u32) -> Prune {
    Prune { history_ms: u64::MAX, receipts_ms, edits_ms: u64::MAX, limit }
}

async fn turns_of_a_key_that_rests_are_forgotten(s: &Subject) {
    for key in ["a", "b", "c"] {
        add(s, 1, key).await;
        assert_eq!(taken(s, &rate(1)).await.len(), 1);
        s.pass(1);
    }
    s.pass(60 * SECOND - 3);
    let forgotten =
        async |since_ms: i64, limit| s.call(prune((60 * SECOND - since_ms).unsigned_abs(), limit)).await.turns;
    assert_eq!(forgotten(0, 10).await, 0, "all took one since");
    assert_eq!(forgotten(2, 1).await, 1, "of two the older");
    assert_eq!(forgotten(2, 10).await, 1);
    assert!(s.call(ReadQueueStats { queue: queue() }).await.turns.is_some(), "of the third");
    assert_eq!(forgotten(3, 10).await, 1);
    assert_eq!(s.call(ReadQueueStats { queue: queue() }).await.turns, None);
}

/// G15: what is forgotten may not give a key more than its rate allows, however short the time is that receipts are kept.
async fn turns_that_count_are_kept(s: &Subject) {
    add(s, 20, "a").await;
    assert_eq!(taken(s, &rate(3)).await.len(), 3);
    for _ in 0..5 {
        s.pass(500);
        assert_eq!(s.call(prune(0, 10)).await.turns, 0);
        s.pass(500);
        assert_eq!(taken(s, &rate(3)).await.len(), 1);
    }
    s.pass(3 * SECOND - 1);
    assert_eq!(s.call(prune(0, 10)).await.turns, 0);
    s.pass(1);
    assert_eq!(s.call(prune(0, 10)).await.turns, 1);
    assert_eq!(taken(s, &rate(3)).await.len(), 3);
}
