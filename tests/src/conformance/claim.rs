//! Cases of claim: which rows are taken, in what order, and what a claim does to them.

use tourbillon::{
    model::{Audit, Fence, Incarnation, Limit, NewExecution, Outcome, Reentry, State, Token, transition::Charge},
    store::Claim,
};
use uuid::Uuid;

use super::subject::{LEASE_MS, Subject, claim_of, failed, job, runner};

super::cases! {
    fresh_row_is_claimed_and_its_start_is_attempt_one,
    charging_at_claim_counts_the_attempt_at_once,
    charging_at_claim_where_harmless_charges_the_first_of_several_attempts,
    charging_at_claim_where_harmless_leaves_the_other_rows_to_their_start,
    row_that_no_audit_tells_is_charged_as_any_other,
    row_is_claimed_from_its_due_time_on,
    retry_is_claimed_at_the_instant_it_is_due,
    retry_counts_the_next_attempt,
    reclaim_clears_the_end_of_the_attempt_before,
    lease_is_held_through_its_last_instant,
    expired_lease_is_reclaimed_once,
    unstarted_row_is_reclaimed_uncharged,
    unstarted_row_is_reclaimed_even_when_reentry_is_forbidden,
    started_row_is_not_reclaimed_when_reentry_is_forbidden,
    row_charged_at_claim_is_not_reclaimed_when_reentry_is_forbidden,
    expired_last_attempt_is_not_reclaimed,
    budget_is_the_rows_own,
    lease_lasts_as_long_as_the_rows_own_policy_says,
    order_is_priority_then_time_then_id,
    expired_lease_comes_in_the_order_of_its_end,
    only_the_jobs_asked_for_are_claimed,
    job_that_is_named_twice_is_claimed_once,
    row_behind_a_first_priority_that_is_not_due_is_claimed,
    claim_for_no_jobs_takes_nothing,
    limit_bounds_the_batch_and_the_rest_follows,
    rows_of_one_claim_share_its_token,
    rows_of_one_job_and_many_scopes_are_claimed_together,
    new_row_of_a_job_is_claimed_while_another_runs,
}

/// P-5, G1.
// P-5
async fn fresh_row_is_claimed_and_its_start_is_attempt_one(s: &Subject) {
    let name = job("digest");
    let id = s.add_one(&name, |_| {}).await;
    s.pass(1_500);
    let request = s.request(claim_of(&[&name], 10));
    let claimed = s.repeat::<Claim>(&request).await;
    assert_eq!(claimed.now, s.now());
    let row = &claimed.executions[0];
    let lease = row.lease.as_ref().expect("a claimed row has a lease");
    assert_eq!((row.id, row.state, row.attempt, row.fence), (id, State::Running, 0, Fence(1)));
    assert_eq!((lease.token, lease.runner), (Token(request.id.0), runner()));
    assert_eq!((lease.claimed_at, lease.started_at, lease.heartbeat_at), (s.now(), None, s.now()));
    assert_eq!(lease.expires_at, s.after(LEASE_MS as i64));
    assert_eq!(row.updated_at, s.now());
    let lease = row.lease_ref().expect("running");
    assert_eq!(s.start(lease).await, Ok(1));
    assert_eq!(s.get(id).await.attempt, 1);
}

/// P-5, G14.
// P-5
async fn charging_at_claim_counts_the_attempt_at_once(s: &Subject) {
    let name = job("digest");
    s.add_one(&name, |_| {}).await;
    let claimed = s.call(Claim { charge: Charge::AtClaim, ..claim_of(&[&name], 10) }).await;
    let row = &claimed.executions[0];
    assert_eq!(row.attempt, 1);
    assert_eq!(row.lease.as_ref().and_then(|lease| lease.started_at), Some(s.now()));
}

/// G14: it keeps the attempts that it needs.
async fn charging_at_claim_where_harmless_charges_the_first_of_several_attempts(s: &Subject) {
    let name = job("digest");
    s.add_one(&name, |_| {}).await;
    let claimed = s.call(Claim { charge: Charge::AtClaimIfHarmless, ..claim_of(&[&name], 10) }).await;
    let row = &claimed.executions[0];
    assert_eq!((row.attempt, row.is_started()), (1, true));
    let lease = row.lease_ref().expect("claimed");
    assert_eq!(s.start(lease).await, Ok(1), "a start charges nothing more");
    assert_eq!(s.settle(lease, Outcome::Released).await, Ok(State::Scheduled));
    assert_eq!(s.get(lease.id).await.attempt, 0, "given back, uncharged");
}

/// G14, G3.
async fn charging_at_claim_where_harmless_leaves_the_other_rows_to_their_start(s: &Subject) {
    let name = job("digest");
    let retry = s.running(&name, |_| {}).await;
    assert_eq!(s.settle(retry, failed(0)).await, Ok(State::Retryable));
    let last = s.row_with(|row| row.policy.max_attempts = 1);
    let forbidden = s.row_with(|row| row.policy.reentry = Reentry::Forbid);
    let limited = s.row_with(|row| row.policy.limit = Some(Limit { key: "seats".to_owned(), max: 2 }));
    let mortal = s.row_with(|row| row.expires_at = Some(s.after(60_000)));
    s.add(&name, vec![last, forbidden, limited, mortal]).await;
    let claimed = s.call(Claim { charge: Charge::AtClaimIfHarmless, ..claim_of(&[&name], 10) }).await;
    assert_eq!(claimed.executions.len(), 5);
    assert!(claimed.executions.iter().all(|row| !row.is_started()));
    assert_eq!(claimed.executions.iter().map(|row| row.attempt).sum::<u32>(), 1, "that which had failed");
}

/// G14. A store may have a shorter way for these, each in a claim of its own.
async fn row_that_no_audit_tells_is_charged_as_any_other(s: &Subject) {
    let kinds = ["fresh", "retry", "last", "forbidden"];
    let expected = [
        (Charge::AtStart, [(0, false), (1, false), (0, false), (0, false)]),
        (Charge::AtClaimIfHarmless, [(1, true), (1, false), (0, false), (0, false)]),
        (Charge::AtClaim, [(1, true), (2, true), (1, true), (1, true)]),
    ];
    for (charge, expected) in expected {
        for (kind, expected) in kinds.into_iter().zip(expected) {
            let name = job(&format!("{kind}_{}", s.id()).replace('-', "_"));
            let untold = |row: &mut NewExecution| {
                row.policy.audit = Audit::Off;
                row.policy.max_attempts = if kind == "last" { 1 } else { 3 };
                row.policy.reentry = if kind == "forbidden" { Reentry::Forbid } else { Reentry::Allow };
            };
            if kind == "retry" {
                let first = s.running(&name, untold).await;
                assert_eq!(s.settle(first, failed(0)).await, Ok(State::Retryable));
            } else {
                s.add_one(&name, untold).await;
            }
            let claimed = s.call(Claim { charge, ..claim_of(&[&name], 10) }).await.executions;
            let charged: Vec<_> = claimed.iter().map(|row| (row.attempt, row.is_started())).collect();
            assert_eq!(charged, [expected], "{charge:?}, {kind}");
        }
    }
}

/// P-12.
// P-12
async fn row_is_claimed_from_its_due_time_on(s: &Subject) {
    let name = job("digest");
    let id = s.add_one(&name, |row| row.due_at = s.after(1)).await;
    s.pass_micros(999);
    assert!(s.nothing_to_claim(&name).await, "one microsecond early");
    s.pass_micros(1);
    assert_eq!(s.claim_one(&name).await.0.id, id);
}

/// P-5: the comparison is inclusive.
// P-5
async fn retry_is_claimed_at_the_instant_it_is_due(s: &Subject) {
    let name = job("digest");
    let lease = s.running(&name, |_| {}).await;
    assert_eq!(s.settle(lease, failed(5_000)).await, Ok(State::Retryable));
    s.pass_micros(4_999_999);
    assert!(s.nothing_to_claim(&name).await, "one microsecond early");
    s.pass_micros(1);
    assert_eq!(s.claim_one(&name).await.0.id, lease.id);
}

/// P-5: the row keeps its id, the token rotates, the fence grows.
// P-5
async fn retry_counts_the_next_attempt(s: &Subject) {
    let name = job("digest");
    let first = s.running(&name, |_| {}).await;
    assert_eq!(s.settle(first, failed(0)).await, Ok(State::Retryable));
    let (row, second) = s.claim_one(&name).await;
    assert_eq!((row.id, second.fence, row.attempt), (first.id, Fence(2), 1));
    assert_ne!(second.token, first.token);
    assert_eq!(s.start(second).await, Ok(2));
}

/// P-5: previous finish, duration, next retry and error are cleared.
// P-5
async fn reclaim_clears_the_end_of_the_attempt_before(s: &Subject) {
    let name = job("digest");
    let lease = s.running(&name, |_| {}).await;
    s.pass(700);
    assert_eq!(s.settle(lease, failed(0)).await, Ok(State::Retryable));
    let failed = s.get(lease.id).await;
    assert_eq!((failed.finished_at, failed.duration_ms), (Some(s.now()), Some(700)));
    assert_eq!(failed.next_retry_at(), Some(s.now()));
    assert!(failed.error.is_some());
    let (row, _) = s.claim_one(&name).await;
    assert_eq!((row.finished_at, row.duration_ms, row.rows_affected), (None, None, None));
    assert_eq!((row.error.clone(), row.next_retry_at()), (None, None));
}

/// P-5: expiry compares strictly.
// P-5
async fn lease_is_held_through_its_last_instant(s: &Subject) {
    let name = job("digest");
    s.running(&name, |_| {}).await;
    s.pass(LEASE_MS as i64);
    assert!(s.nothing_to_claim(&name).await);
    s.pass_micros(1);
    assert!(!s.nothing_to_claim(&name).await);
}

/// P-5, G1.
// P-5
async fn expired_lease_is_reclaimed_once(s: &Subject) {
    let name = job("digest");
    let first = s.running(&name, |_| {}).await;
    s.pass(LEASE_MS as i64 + 1);
    let (row, second) = s.claim_one(&name).await;
    assert_eq!((row.id, row.attempt, second.fence), (first.id, 1, Fence(2)));
    assert_ne!(second.token, first.token);
    assert_eq!(row.lease.and_then(|lease| lease.started_at), None, "the new attempt is not started yet");
    assert!(s.nothing_to_claim(&name).await);
    assert_eq!(s.start(second).await, Ok(2));
}

/// G14: rows claimed but not started when a process dies are not charged.
async fn unstarted_row_is_reclaimed_uncharged(s: &Subject) {
    let name = job("digest");
    s.claimed(&name, |row| row.policy.max_attempts = 1).await;
    for fence in 2..6 {
        s.pass(LEASE_MS as i64 + 1);
        let (row, lease) = s.claim_one(&name).await;
        assert_eq!((row.attempt, lease.fence), (0, Fence(fence)));
    }
}

/// G14.
async fn unstarted_row_is_reclaimed_even_when_reentry_is_forbidden(s: &Subject) {
    let name = job("digest");
    s.claimed(&name, |row| row.policy.reentry = Reentry::Forbid).await;
    s.pass(LEASE_MS as i64 + 1);
    assert!(s.rescue().await.ended.is_empty(), "nothing has run");
    let (_, lease) = s.claim_one(&name).await;
    assert_eq!(s.start(lease).await, Ok(1));
}

/// P-10.
// P-10
async fn started_row_is_not_reclaimed_when_reentry_is_forbidden(s: &Subject) {
    let name = job("digest");
    let lease = s.running(&name, |row| row.policy.reentry = Reentry::Forbid).await;
    s.pass(LEASE_MS as i64 * 100);
    assert!(s.nothing_to_claim(&name).await);
    assert_eq!(s.get(lease.id).await.claimable_at, None);
}

/// P-10.
// P-10
async fn row_charged_at_claim_is_not_reclaimed_when_reentry_is_forbidden(s: &Subject) {
    let name = job("digest");
    s.add_one(&name, |row| row.policy.reentry = Reentry::Forbid).await;
    s.call(Claim { charge: Charge::AtClaim, ..claim_of(&[&name], 1) }).await;
    s.pass(LEASE_MS as i64 + 1);
    assert!(s.nothing_to_claim(&name).await);
}

/// G3.
async fn expired_last_attempt_is_not_reclaimed(s: &Subject) {
    let name = job("digest");
    s.running(&name, |row| row.policy.max_attempts = 2).await;
    s.pass(LEASE_MS as i64 + 1);
    let (_, lease) = s.claim_one(&name).await;
    assert_eq!(s.start(lease).await, Ok(2));
    s.pass(LEASE_MS as i64 + 1);
    assert!(s.nothing_to_claim(&name).await);
}

/// P-5: the budget is the row's own max attempts.
// P-5
async fn budget_is_the_rows_own(s: &Subject) {
    let name = job("digest");
    let once = s.running(&name, |row| row.policy.max_attempts = 1).await;
    let twice = s.running(&name, |row| row.policy.max_attempts = 2).await;
    assert_eq!(s.settle(once, failed(0)).await, Ok(State::Dead));
    assert_eq!(s.settle(twice, failed(0)).await, Ok(State::Retryable));
    assert_eq!(s.claim_one(&name).await.0.id, twice.id);
}

/// P-5.
// P-5
async fn lease_lasts_as_long_as_the_rows_own_policy_says(s: &Subject) {
    let name = job("digest");
    s.claimed(&name, |row| row.policy.lease_ms = 1).await;
    s.claimed(&name, |row| row.policy.lease_ms = 3_600_000).await;
    s.pass(2);
    assert_eq!(s.claim(&name).await.executions.len(), 1);
}

/// The order that the claim index must match.
async fn order_is_priority_then_time_then_id(s: &Subject) {
    let name = job("digest");
    let ms = |n: i64| s.after(n);
    let mut rows = Vec::new();
    for (priority, due_at) in
        [(5, ms(-9)), (0, ms(-1)), (0, ms(-1)), (0, ms(-1)), (-5, ms(0)), (0, ms(-2)), (5, ms(-9))]
    {
        rows.push(s.row_with(|row| (row.priority, row.due_at) = (priority, due_at)));
    }
    let mut expected: Vec<_> = rows.iter().map(|row| (row.priority, row.due_at, row.id)).collect();
    expected.sort_unstable();
    s.add(&name, rows).await;
    let claimed = s.claim(&name).await.executions;
    let got: Vec<_> = claimed.iter().map(|row| (row.priority, row.due_at, row.id)).collect();
    assert_eq!(got, expected);
}

/// That of a start, and that of a heartbeat: each behind what was due at its last instant.
async fn expired_lease_comes_in_the_order_of_its_end(s: &Subject) {
    let name = job("digest");
    let lease = i64::try_from(LEASE_MS).expect("a minute");
    let started = s.running(&name, |_| {}).await;
    s.pass(1_000);
    let renewed = s.running(&name, |_| {}).await;
    s.pass(1_000);
    s.heartbeat(renewed).await.expect("held");
    let mut order = Vec::new();
    for (held, ends) in [(started, lease - 2_000), (renewed, lease)] {
        order.push(s.add_one(&name, |row| row.due_at = s.after(ends)).await);
        order.push(held.id);
    }
    s.pass(lease);
    s.pass_micros(1);
    let claimed = s.claim(&name).await.executions;
    assert_eq!(claimed.iter().map(|row| row.id).collect::<Vec<_>>(), order);
}

/// P-5.
// P-5
async fn only_the_jobs_asked_for_are_claimed(s: &Subject) {
    let (digest, rollup, other) = (job("digest"), job("rollup"), job("digest2"));
    let a = s.add_one(&digest, |_| {}).await;
    let b = s.add_one(&rollup, |_| {}).await;
    s.add_one(&other, |_| {}).await;
    let claimed = s.call(claim_of(&[&rollup, &digest, &job("unknown")], 10)).await;
    let mut ids: Vec<_> = claimed.executions.iter().map(|row| row.id).collect();
    ids.sort_unstable();
    let mut expected = [a, b];
    expected.sort_unstable();
    assert_eq!(ids, expected);
}

async fn job_that_is_named_twice_is_claimed_once(s: &Subject) {
    let name = job("digest");
    s.add(&name, vec![s.row(), s.row(), s.row()]).await;
    let claimed = s.call(claim_of(&[&name, &name], 10)).await;
    assert_eq!(claimed.executions.len(), 3);
}

/// Of each kind: items have a lane of their own, slots share one.
async fn row_behind_a_first_priority_that_is_not_due_is_claimed(s: &Subject) {
    for (name, is_slot) in [(job("mail"), false), (job("digest"), true)] {
        let row = |priority: i16, ms| {
            s.row_with(|row| {
                row.slot_at = is_slot.then(|| s.after(priority.into()));
                (row.priority, row.due_at) = (priority, s.after(ms));
            })
        };
        s.add(&name, vec![row(-1, 60_000), row(5, 0), row(7, 60_000), row(9, 0)]).await;
        let claimed = s.claim(&name).await.executions;
        assert_eq!(claimed.iter().map(|row| row.priority).collect::<Vec<_>>(), [5, 9]);
    }
}

async fn claim_for_no_jobs_takes_nothing(s: &Subject) {
    s.add_one(&job("digest"), |_| {}).await;
    let claimed = s.call(claim_of(&[], 10)).await;
    assert_eq!((claimed.executions.len(), claimed.skipped.len(), claimed.now), (0, 0, s.now()));
}

/// G14: every batch is bounded.
async fn limit_bounds_the_batch_and_the_rest_follows(s: &Subject) {
    let name = job("digest");
    let rows = (0..7).map(|n| s.row_with(|row| row.due_at = s.after(-n))).collect();
    s.add(&name, rows).await;
    let mut taken = Vec::new();
    for expected in [3, 3, 1, 0] {
        let rows = s.call(claim_of(&[&name], 3)).await.executions;
        assert_eq!(rows.len(), expected);
        taken.extend(rows.into_iter().map(|row| row.due_at));
    }
    assert!(taken.is_sorted(), "oldest first: {taken:?}");
}

/// G1: the token is the request's id; id, token and fence together name the claim.
async fn rows_of_one_claim_share_its_token(s: &Subject) {
    let name = job("digest");
    s.add(&name, vec![s.row(), s.row()]).await;
    let other = Incarnation(Uuid::from_u128(7));
    let request = s.request(Claim { runner: other, ..claim_of(&[&name], 10) });
    let claimed = s.repeat::<Claim>(&request).await;
    let leases: Vec<_> = claimed.executions.iter().filter_map(|row| row.lease.as_ref()).collect();
    assert_eq!(leases.len(), 2);
    assert!(leases.iter().all(|lease| lease.token == Token(request.id.0) && lease.runner == other));
}

/// P-13.
// P-13
async fn rows_of_one_job_and_many_scopes_are_claimed_together(s: &Subject) {
    let name = job("digest");
    s.register(&name).await;
    for tenant in ["a", "b", "c"] {
        let entry = s.entry(&name, None, s.after(-1_000), vec![s.row()]);
        s.plan(tourbillon::store::PlanEntry { scope: super::subject::scope(tenant), ..entry }).await;
    }
    let claimed = s.claim(&name).await.executions;
    let mut scopes: Vec<_> = claimed.iter().map(|row| row.scope.id()).collect();
    scopes.sort_unstable();
    assert_eq!(scopes, ["a", "b", "c"]);
}

/// G14: without a limit, a slow row stops nobody else.
async fn new_row_of_a_job_is_claimed_while_another_runs(s: &Subject) {
    let name = job("digest");
    s.running(&name, |_| {}).await;
    let id = s.add_one(&name, |_| {}).await;
    assert_eq!(s.claim_one(&name).await.0.id, id);
}
