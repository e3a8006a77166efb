//! Cases of repeated request ids: the first outcome is returned, and nothing changes.

use tourbillon::{
    model::{
        Execution, Generation, Outcome, State,
        transition::{Cancelled, Charge},
    },
    store::{Cancel, Claim, Plan, PlanOutcome, Prune, Requeue, RequeueOutcome, Settle, Settlement},
};

use super::subject::{LEASE_MS, Subject, claim_of, failed, job, succeeded};

super::cases! {
    repeated_plan_makes_nothing_twice,
    repeated_plan_that_was_refused_stays_refused,
    repeated_claim_returns_the_same_rows,
    repeated_claim_returns_what_it_still_holds,
    repeated_claim_returns_nothing_that_another_holds,
    repeated_claim_returns_what_it_skipped,
    empty_claim_leaves_no_receipt,
    repeated_settle_reports_its_own_success,
    repeated_settle_reports_its_success_after_the_row_has_gone,
    repeated_settle_changes_nothing_in_a_later_attempt,
    repeated_settle_that_was_refused_stays_refused,
    repeated_request_about_nothing_is_answered_as_the_first,
    repeated_cancel_reports_its_own_success,
    repeated_cancel_spares_the_next_generation,
    repeated_requeue_makes_one_generation,
    repeated_request_returns_the_time_of_the_first,
    two_requests_with_the_same_content_are_two_requests,
    receipt_lasts_as_long_as_the_window,
}

/// An acknowledged enqueue that is retried never enqueues twice. G6.
async fn repeated_plan_makes_nothing_twice(s: &Subject) {
    let name = job("digest");
    s.register(&name).await;
    let row = s.row();
    let made = vec![PlanOutcome::Made(vec![row.id])];
    let request = s.request(Plan { entries: vec![s.entry(&name, None, s.now(), vec![row])] });
    assert_eq!(s.repeat::<Plan>(&request).await.outcomes, made);
    s.pass(1_000);
    assert_eq!(s.repeat::<Plan>(&request).await.outcomes, made);
    let (_, lease) = s.claim_one(&name).await;
    s.start(lease).await.expect("held");
    s.settle(lease, succeeded()).await.expect("held");
    assert_eq!(s.repeat::<Plan>(&request).await.outcomes, made, "also after the row has gone");
    assert!(s.nothing_to_claim(&name).await);
    assert_eq!(s.generations(lease.id).await.len(), 1);
}

async fn repeated_plan_that_was_refused_stays_refused(s: &Subject) {
    let name = job("digest");
    s.register(&name).await;
    let request = s.request(Plan { entries: vec![s.entry(&name, None, s.after(5), vec![s.row()])] });
    assert_eq!(s.repeat::<Plan>(&request).await.outcomes, [PlanOutcome::NotDue]);
    s.pass(10);
    assert_eq!(s.repeat::<Plan>(&request).await.outcomes, [PlanOutcome::NotDue]);
    assert!(s.nothing_to_claim(&name).await);
}

/// G1: a reply that was lost after the commit does not strand the rows until their leases expire.
async fn repeated_claim_returns_the_same_rows(s: &Subject) {
    let name = job("digest");
    s.add(&name, vec![s.row(), s.row(), s.row()]).await;
    let request = s.request(claim_of(&[&name], 2));
    let first = s.repeat::<Claim>(&request).await;
    assert_eq!(first.executions.len(), 2);
    assert_eq!(s.repeat::<Claim>(&request).await, first);
    assert_eq!(s.claim(&name).await.executions.len(), 1, "the third row was left");
}

/// G1: it takes nothing, whatever has become of what it took.
async fn repeated_claim_returns_what_it_still_holds(s: &Subject) {
    let name = job("digest");
    s.add(&name, vec![s.row(), s.row(), s.row()]).await;
    let request = s.request(claim_of(&[&name], 2));
    let first = s.repeat::<Claim>(&request).await;
    let leases: Vec<_> = first.executions.iter().filter_map(Execution::lease_ref).collect();
    s.pass(5);
    assert_eq!(s.start(leases[0]).await, Ok(1));
    let again = s.repeat::<Claim>(&request).await;
    assert_eq!((again.now, again.executions.len()), (first.now, 2));
    assert_eq!(again.executions, [s.get(leases[0].id).await, s.get(leases[1].id).await], "as they are now");
    s.settle(leases[0], succeeded()).await.expect("held");
    assert_eq!(s.repeat::<Claim>(&request).await.executions, again.executions[1..]);
    s.settle(leases[1], Outcome::Released).await.expect("held");
    let none = s.repeat::<Claim>(&request).await;
    assert_eq!((none.now, none.executions.len()), (first.now, 0), "two rows could be claimed");
}

/// G1.
async fn repeated_claim_returns_nothing_that_another_holds(s: &Subject) {
    let name = job("digest");
    s.add(&name, vec![s.row(), s.row()]).await;
    let request = s.request(Claim { charge: Charge::AtClaim, ..claim_of(&[&name], 2) });
    let first = s.repeat::<Claim>(&request).await;
    let kept = first.executions[1].lease_ref().expect("claimed");
    s.pass(LEASE_MS as i64);
    s.heartbeat(kept).await.expect("held");
    s.pass(1);
    let taken = s.claim(&name).await.executions;
    assert_eq!(taken.iter().map(|row| row.id).collect::<Vec<_>>(), [first.executions[0].id]);
    let again = s.repeat::<Claim>(&request).await.executions;
    assert_eq!(again.iter().map(|row| row.id).collect::<Vec<_>>(), [kept.id]);
}

async fn repeated_claim_returns_what_it_skipped(s: &Subject) {
    let name = job("digest");
    s.add_one(&name, |row| row.expires_at = Some(s.after(-1))).await;
    let request = s.request(claim_of(&[&name], 2));
    let first = s.repeat::<Claim>(&request).await;
    assert_eq!(first.skipped.len(), 1);
    assert_eq!(s.repeat::<Claim>(&request).await, first);
}

/// Idle polling must not write; repeating it may find something.
async fn empty_claim_leaves_no_receipt(s: &Subject) {
    let name = job("digest");
    let request = s.request(claim_of(&[&name], 2));
    assert_eq!(s.repeat::<Claim>(&request).await.executions.len(), 0);
    s.add_one(&name, |_| {}).await;
    assert_eq!(s.repeat::<Claim>(&request).await.executions.len(), 1);
    let receipts =
        s.call(Prune { history_ms: u64::MAX, receipts_ms: 0, edits_ms: u64::MAX, limit: 100 }).await.receipts;
    assert_eq!(receipts, 0, "nothing is older than now");
    s.pass(1);
    let receipts =
        s.call(Prune { history_ms: u64::MAX, receipts_ms: 0, edits_ms: u64::MAX, limit: 100 }).await.receipts;
    assert_eq!(receipts, 2, "the plan's and the second claim's");
}

/// A retried settle never reports the loss of its own success.
async fn repeated_settle_reports_its_own_success(s: &Subject) {
    let lease = s.running(&job("digest"), |_| {}).await;
    let request = s.request(Settle { settlements: vec![Settlement::of(lease, failed(60_000))] });
    let first = s.repeat::<Settle>(&request).await;
    assert_eq!(first.outcomes, [Ok(State::Retryable)]);
    let before = s.get(lease.id).await;
    s.pass(1_000);
    assert_eq!(s.repeat::<Settle>(&request).await, first);
    assert_eq!(s.get(lease.id).await, before);
}

/// G2.
async fn repeated_settle_reports_its_success_after_the_row_has_gone(s: &Subject) {
    let lease = s.running(&job("digest"), |_| {}).await;
    let request = s.request(Settle { settlements: vec![Settlement::of(lease, succeeded())] });
    let first = s.repeat::<Settle>(&request).await;
    assert_eq!(s.repeat::<Settle>(&request).await, first);
    s.pass(1);
    assert_eq!(
        s.call(Prune { history_ms: 0, receipts_ms: u64::MAX, edits_ms: u64::MAX, limit: 100 }).await.executions,
        1
    );
    assert!(s.generations(lease.id).await.is_empty());
    assert_eq!(s.repeat::<Settle>(&request).await, first);
}

/// G2.
async fn repeated_settle_changes_nothing_in_a_later_attempt(s: &Subject) {
    let name = job("digest");
    let lease = s.running(&name, |_| {}).await;
    let request = s.request(Settle { settlements: vec![Settlement::of(lease, failed(0))] });
    s.repeat::<Settle>(&request).await;
    let (_, second) = s.claim_one(&name).await;
    s.start(second).await.expect("held");
    let before = s.get(lease.id).await;
    assert_eq!(s.repeat::<Settle>(&request).await.outcomes, [Ok(State::Retryable)]);
    assert_eq!(s.get(lease.id).await, before);
}

async fn repeated_settle_that_was_refused_stays_refused(s: &Subject) {
    let lease = s.claimed(&job("digest"), |_| {}).await;
    let request = s.request(Settle { settlements: vec![Settlement::of(lease, succeeded())] });
    let first = s.repeat::<Settle>(&request).await;
    assert!(first.outcomes[0].is_err());
    s.start(lease).await.expect("held");
    assert_eq!(s.repeat::<Settle>(&request).await, first);
    assert_eq!(s.get(lease.id).await.state, State::Running);
}

async fn repeated_cancel_reports_its_own_success(s: &Subject) {
    let id = s.add_one(&job("digest"), |_| {}).await;
    let request = s.request(Cancel { ids: vec![id], actor: None });
    for _ in 0..2 {
        assert_eq!(s.repeat::<Cancel>(&request).await.outcomes, [Cancelled::Now]);
        s.pass(1);
    }
    s.call(Prune { history_ms: 0, receipts_ms: u64::MAX, edits_ms: u64::MAX, limit: 100 }).await;
    assert_eq!(s.repeat::<Cancel>(&request).await.outcomes, [Cancelled::Now], "also after the row has gone");
}

async fn repeated_cancel_spares_the_next_generation(s: &Subject) {
    let name = job("digest");
    let id = s.add_one(&name, |_| {}).await;
    let request = s.request(Cancel { ids: vec![id], actor: None });
    s.repeat::<Cancel>(&request).await;
    s.requeue(id).await;
    assert_eq!(s.repeat::<Cancel>(&request).await.outcomes, [Cancelled::Now]);
    assert_eq!(s.claim_one(&name).await.0.id, id);
}

async fn repeated_requeue_makes_one_generation(s: &Subject) {
    let name = job("digest");
    let id = s.ended(&name, succeeded()).await;
    let request = s.request(Requeue { ids: vec![id], actor: None });
    let second = [RequeueOutcome::Requeued(Generation(2))];
    assert_eq!(s.repeat::<Requeue>(&request).await.outcomes, second);
    assert_eq!(s.repeat::<Requeue>(&request).await.outcomes, second);
    let (_, lease) = s.claim_one(&name).await;
    s.start(lease).await.expect("held");
    s.settle(lease, succeeded()).await.expect("held");
    assert_eq!(s.repeat::<Requeue>(&request).await.outcomes, second, "also after it has ended again");
    assert_eq!(s.generations(id).await.len(), 2);
}

async fn repeated_request_returns_the_time_of_the_first(s: &Subject) {
    let lease = s.running(&job("digest"), |_| {}).await;
    let request = s.request(Settle { settlements: vec![Settlement::of(lease, succeeded())] });
    let now = s.repeat::<Settle>(&request).await.now;
    s.pass(-60_000);
    assert_eq!(s.repeat::<Settle>(&request).await.now, now);
}

async fn two_requests_with_the_same_content_are_two_requests(s: &Subject) {
    let name = job("digest");
    s.add(&name, vec![s.row(), s.row()]).await;
    let claim = claim_of(&[&name], 1);
    let (first, second) = (s.call(claim.clone()).await, s.call(claim).await);
    assert_ne!(first.executions[0].id, second.executions[0].id);
    assert_ne!(first.executions[0].lease_ref().map(|l| l.token), second.executions[0].lease_ref().map(|l| l.token));
    let id = first.executions[0].id;
    let outcomes = [s.cancel(id).await, s.cancel(second.executions[0].id).await, s.cancel(id).await];
    assert_eq!(outcomes, [Cancelled::Requested; 3]);
    let waiting = s.add_one(&name, |row| row.due_at = s.after(LEASE_MS as i64)).await;
    assert_eq!(s.cancel(waiting).await, Cancelled::Now);
    assert_eq!(s.cancel(waiting).await, Cancelled::AlreadyTerminal);
}

/// A store may look at the rows first, of which none differs.
async fn repeated_request_about_nothing_is_answered_as_the_first(s: &Subject) {
    let request = s.request(Settle { settlements: Vec::new() });
    let first = s.repeat::<Settle>(&request).await;
    s.pass(1_000);
    assert_eq!(s.repeat::<Settle>(&request).await, first);
    let request = s.request(Cancel { ids: Vec::new(), actor: None });
    assert_eq!(s.repeat::<Cancel>(&request).await, s.repeat::<Cancel>(&request).await);
    let request = s.request(Requeue { ids: Vec::new(), actor: None });
    assert_eq!(s.repeat::<Requeue>(&request).await, s.repeat::<Requeue>(&request).await);
}

/// Behind the idempotency window the request is a new one.
async fn receipt_lasts_as_long_as_the_window(s: &Subject) {
    let lease = s.running(&job("digest"), |_| {}).await;
    let request = s.request(Settle { settlements: vec![Settlement::of(lease, succeeded())] });
    let first = s.repeat::<Settle>(&request).await;
    s.pass(60_000);
    s.call(Prune { history_ms: u64::MAX, receipts_ms: 60_000, edits_ms: u64::MAX, limit: 100 }).await;
    assert_eq!(s.repeat::<Settle>(&request).await, first);
    s.pass_micros(1);
    s.call(Prune { history_ms: u64::MAX, receipts_ms: 60_000, edits_ms: u64::MAX, limit: 100 }).await;
    assert!(s.repeat::<Settle>(&request).await.outcomes[0].is_err());
}
