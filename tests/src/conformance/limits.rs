//! Cases of overlap limits (G15): at most so many running rows per key, whatever their job.

use tourbillon::model::{JobName, LeaseRef, Limit, NewExecution, Outcome, Reentry, State};

use super::subject::{LEASE_MS, Subject, claim_of, failed, job, succeeded};

super::cases! {
    one_claim_takes_no_more_than_there_is_room_for,
    later_claim_takes_no_more_than_there_is_room_for,
    overlap_forbidden_is_a_limit_of_one,
    limit_counts_rows_of_all_jobs,
    other_keys_have_room_of_their_own,
    rows_without_a_limit_are_not_held_up,
    each_end_of_an_attempt_makes_room,
    rescue_makes_room,
    expired_row_is_taken_over_without_room,
    expired_row_still_counts_until_it_is_ended,
    page_full_of_blocked_rows_hides_nobody,
    free_place_goes_to_the_first_in_order,
    blocked_row_stays_as_it_was,
    each_row_is_judged_by_its_own_limit,
}

fn limited(key: &str, max: u32) -> impl Fn(&mut NewExecution) + '_ {
    move |row| row.policy.limit = Some(Limit { key: key.to_owned(), max })
}

async fn add(s: &Subject, name: &JobName, n: usize, key: &str, max: u32) {
    let rows = (0..n).map(|_| s.row_with(limited(key, max))).collect();
    s.add(name, rows).await;
}

async fn claim(s: &Subject, name: &JobName) -> Vec<LeaseRef> {
    let rows = s.call(claim_of(&[name], 100)).await.executions;
    rows.iter().map(|row| row.lease_ref().expect("claimed")).collect()
}

/// G15.
async fn one_claim_takes_no_more_than_there_is_room_for(s: &Subject) {
    let name = job("export");
    add(s, &name, 5, "disk", 2).await;
    assert_eq!(claim(s, &name).await.len(), 2);
}

/// G15.
async fn later_claim_takes_no_more_than_there_is_room_for(s: &Subject) {
    let name = job("export");
    add(s, &name, 5, "disk", 3).await;
    assert_eq!(s.call(claim_of(&[&name], 1)).await.executions.len(), 1);
    assert_eq!(claim(s, &name).await.len(), 2);
    assert_eq!(claim(s, &name).await.len(), 0);
}

/// G15.
async fn overlap_forbidden_is_a_limit_of_one(s: &Subject) {
    let name = job("export");
    add(s, &name, 3, "export", 1).await;
    for _ in 0..3 {
        let (_, lease) = s.claim_one(&name).await;
        assert!(s.nothing_to_claim(&name).await);
        s.start(lease).await.expect("held");
        s.settle(lease, succeeded()).await.expect("held");
    }
    assert!(s.nothing_to_claim(&name).await);
}

/// G15.
async fn limit_counts_rows_of_all_jobs(s: &Subject) {
    let (a, b) = (job("export"), job("import"));
    add(s, &a, 2, "disk", 2).await;
    add(s, &b, 2, "disk", 2).await;
    assert_eq!(s.call(claim_of(&[&a], 1)).await.executions.len(), 1);
    assert_eq!(claim(s, &b).await.len(), 1);
    assert_eq!(claim(s, &a).await.len(), 0);
}

async fn other_keys_have_room_of_their_own(s: &Subject) {
    let name = job("export");
    add(s, &name, 2, "disk", 1).await;
    add(s, &name, 2, "Disk", 1).await;
    add(s, &name, 2, "disk ", 1).await;
    assert_eq!(claim(s, &name).await.len(), 3);
}

async fn rows_without_a_limit_are_not_held_up(s: &Subject) {
    let name = job("export");
    add(s, &name, 2, "disk", 1).await;
    s.add(&name, vec![s.row(), s.row()]).await;
    assert_eq!(claim(s, &name).await.len(), 3);
}

/// G15.
async fn each_end_of_an_attempt_makes_room(s: &Subject) {
    let outcomes = [succeeded(), failed(86_400_000), Outcome::Snoozed { for_ms: 86_400_000 }];
    let name = job("export");
    add(s, &name, 4, "disk", 1).await;
    for outcome in outcomes {
        let (_, lease) = s.claim_one(&name).await;
        s.start(lease).await.expect("held");
        s.settle(lease, outcome).await.expect("held");
    }
    let (_, lease) = s.claim_one(&name).await;
    s.settle(lease, Outcome::Released).await.expect("held");
    assert_eq!(s.claim_one(&name).await.0.id, lease.id);
}

/// G15.
async fn rescue_makes_room(s: &Subject) {
    let name = job("export");
    let lease = s.running(&name, |row| {
        limited("disk", 1)(row);
        row.policy.reentry = Reentry::Forbid;
    });
    let lease = lease.await;
    add(s, &name, 1, "disk", 1).await;
    s.pass(LEASE_MS as i64 + 1);
    assert!(s.nothing_to_claim(&name).await);
    assert_eq!(s.rescue().await.ended, [(lease.id, State::Dead)]);
    s.claim_one(&name).await;
}

/// G15: a running row counts already.
async fn expired_row_is_taken_over_without_room(s: &Subject) {
    let name = job("export");
    let lease = s.running(&name, limited("disk", 1)).await;
    s.pass(LEASE_MS as i64 + 1);
    assert_eq!(s.claim_one(&name).await.0.id, lease.id);
}

/// G15: stricter than "unexpired leases": its handler may still run.
async fn expired_row_still_counts_until_it_is_ended(s: &Subject) {
    let name = job("export");
    let first = s.running(&name, limited("disk", 1)).await;
    add(s, &name, 1, "disk", 1).await;
    s.pass(LEASE_MS as i64 + 1);
    assert_eq!(s.claim_one(&name).await.0.id, first.id, "taken over, and still the only one");
}

/// G14: a full page of ineligible rows stops nobody else.
async fn page_full_of_blocked_rows_hides_nobody(s: &Subject) {
    let name = job("export");
    s.running(&name, limited("disk", 1)).await;
    add(s, &name, 20, "disk", 1).await;
    let free = s.add_one(&name, |row| row.priority = 9).await;
    let claimed = s.call(claim_of(&[&name], 2)).await.executions;
    assert_eq!(claimed.iter().map(|row| row.id).collect::<Vec<_>>(), [free]);
}

async fn free_place_goes_to_the_first_in_order(s: &Subject) {
    let name = job("export");
    let rows: Vec<_> = [3, 1, 2]
        .map(|priority| {
            s.row_with(|row| {
                limited("disk", 1)(row);
                row.priority = priority;
            })
        })
        .to_vec();
    let expected = [rows[1].id, rows[2].id, rows[0].id];
    s.add(&name, rows).await;
    for id in expected {
        let (row, lease) = s.claim_one(&name).await;
        assert_eq!(row.id, id);
        s.start(lease).await.expect("held");
        s.settle(lease, succeeded()).await.expect("held");
    }
}

async fn blocked_row_stays_as_it_was(s: &Subject) {
    let name = job("export");
    s.running(&name, limited("disk", 1)).await;
    let id = s.add_one(&name, limited("disk", 1)).await;
    let before = s.get(id).await;
    s.pass(10);
    assert!(s.nothing_to_claim(&name).await);
    assert_eq!(s.get(id).await, before);
}

/// Rows of one key may carry different limits, after an edit.
async fn each_row_is_judged_by_its_own_limit(s: &Subject) {
    let name = job("export");
    s.running(&name, limited("disk", 1)).await;
    add(s, &name, 1, "disk", 1).await;
    let wide = s.add_one(&name, limited("disk", 2)).await;
    assert_eq!(s.claim_one(&name).await.0.id, wide);
}
