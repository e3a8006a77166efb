//! Cases of the look for due work: whose rows are due, to the microsecond, and that nothing else counts.

use tourbillon::{
    model::{JobName, Limit},
    store::{Due, PauseJob, ReadDue},
};

use super::subject::{LEASE_MS, Subject, failed, job, succeeded};

super::cases! {
    jobs_with_due_rows_are_named_once_by_name,
    row_is_looked_for_from_its_due_time_on,
    retry_is_looked_for_from_its_time_on,
    leased_row_is_looked_for_when_its_lease_has_expired,
    ended_row_is_not_looked_for,
    due_row_of_any_priority_is_found,
    due_item_behind_a_first_priority_that_is_not_due_is_found,
    due_slots_name_their_job_once_and_nobody_else_s,
    row_that_a_pause_or_a_limit_holds_back_is_due_all_the_same,
    look_takes_nothing,
}

async fn due(s: &Subject, jobs: &[&JobName]) -> Vec<JobName> {
    let found = s.call(ReadDue { jobs: jobs.iter().copied().cloned().collect() }).await;
    assert_eq!(found.now, s.now());
    found.jobs
}

async fn jobs_with_due_rows_are_named_once_by_name(s: &Subject) {
    let [a, b, upper, empty, unknown] = ["a", "b", "B", "empty", "unknown"].map(job);
    s.register(&empty).await;
    for name in [&b, &a, &upper, &b] {
        s.enqueue_one(name, |_| {}).await;
    }
    let named = due(s, &[&unknown, &empty, &b, &upper, &a, &b]).await;
    assert_eq!(named, [upper.clone(), a.clone(), b.clone()], "by the bytes of the name");
    assert_eq!(due(s, &[&empty, &a]).await, [a], "nobody else's");
    assert_eq!(due(s, &[&empty, &unknown]).await, []);
}

async fn row_is_looked_for_from_its_due_time_on(s: &Subject) {
    let name = job("digest");
    s.add_one(&name, |row| row.due_at = s.after(1)).await;
    s.pass_micros(999);
    assert_eq!(due(s, &[&name]).await, [], "one microsecond early");
    s.pass_micros(1);
    assert_eq!(due(s, &[&name]).await, [name]);
}

async fn retry_is_looked_for_from_its_time_on(s: &Subject) {
    let name = job("digest");
    let lease = s.running(&name, |_| {}).await;
    s.settle(lease, failed(5_000)).await.expect("held");
    s.pass_micros(4_999_999);
    assert_eq!(due(s, &[&name]).await, [], "one microsecond early");
    s.pass_micros(1);
    assert_eq!(due(s, &[&name]).await, [name]);
}

async fn leased_row_is_looked_for_when_its_lease_has_expired(s: &Subject) {
    let name = job("digest");
    s.running(&name, |_| {}).await;
    s.pass(LEASE_MS as i64);
    assert_eq!(due(s, &[&name]).await, [], "held through its last instant");
    s.pass_micros(1);
    assert_eq!(due(s, &[&name]).await, [name]);
}

async fn ended_row_is_not_looked_for(s: &Subject) {
    let name = job("digest");
    s.ended(&name, succeeded()).await;
    let cancelled = s.add_one(&name, |_| {}).await;
    s.cancel(cancelled).await;
    s.pass(LEASE_MS as i64 + 1);
    assert_eq!(due(s, &[&name]).await, []);
}

/// Also behind others, and where those are not due yet.
async fn due_row_of_any_priority_is_found(s: &Subject) {
    let [low, high, later] = ["low", "high", "later"].map(job);
    s.enqueue_one(&high, |item| item.priority = -7).await;
    s.add_one(&later, |row| row.due_at = s.after(60_000)).await;
    s.enqueue_one(&low, |item| item.priority = i16::MAX).await;
    assert_eq!(due(s, &[&low, &high, &later]).await, [high, low]);
}

async fn due_item_behind_a_first_priority_that_is_not_due_is_found(s: &Subject) {
    let name = job("mail");
    s.enqueue_one(&name, |item| (item.priority, item.due) = (-1, Due::AfterMs(60_000))).await;
    s.enqueue_one(&name, |item| item.priority = 5).await;
    assert_eq!(due(s, &[&name]).await, [name]);
}

async fn due_slots_name_their_job_once_and_nobody_else_s(s: &Subject) {
    let [digest, rollup] = ["digest", "rollup"].map(job);
    let slot = |ms| s.row_with(|row| row.slot_at = Some(s.after(ms)));
    s.add(&digest, vec![slot(-2), slot(-1)]).await;
    assert_eq!(due(s, &[&rollup]).await, []);
    assert_eq!(due(s, &[&rollup, &digest]).await, [digest]);
}

/// Only the time counts; what may be taken is the claim's to say.
async fn row_that_a_pause_or_a_limit_holds_back_is_due_all_the_same(s: &Subject) {
    let [paused, full] = ["paused", "full"].map(job);
    s.add_one(&paused, |row| row.slot_at = Some(s.now())).await;
    s.call(PauseJob { job: paused.clone(), scope: None, actor: None }).await;
    let seat = || Some(Limit { key: "seat".to_owned(), max: 1 });
    s.running(&full, |row| row.policy.limit = seat()).await;
    s.add_one(&full, |row| row.policy.limit = seat()).await;
    assert!(s.nothing_to_claim(&paused).await && s.nothing_to_claim(&full).await);
    assert_eq!(due(s, &[&paused, &full]).await, [full, paused]);
}

async fn look_takes_nothing(s: &Subject) {
    let name = job("digest");
    let id = s.add_one(&name, |_| {}).await;
    let before = s.get(id).await;
    for _ in 0..2 {
        assert_eq!(due(s, &[&name]).await, std::slice::from_ref(&name));
    }
    assert_eq!(s.get(id).await, before);
    assert_eq!(s.claim_one(&name).await.0.id, id);
}
