//! Cases of notices: which requests tell whoever listens that something is due. For stores that give notices; one that
//! gives none passes, since nothing may depend on them.

use std::time::Duration;

use tourbillon::{
    model::{JobName, Outcome},
    runtime::Runtime,
    store::{Due, Listener, Notice, UpdateItem},
};

use super::subject::{Subject, failed_for_good, job};

super::cases! {
    due_item_is_noticed_by_all_who_listen,
    item_due_later_is_not_noticed,
    duplicate_is_not_noticed,
    new_slot_is_noticed,
    item_brought_forward_is_noticed,
    requeued_row_is_noticed,
    row_given_back_is_noticed,
    ended_row_is_not_noticed,
    probe_succeeds_and_keeps_what_was_noticed,
}

/// The next notice.
async fn heard(listener: &mut dyn Listener) -> Notice {
    let heard = Runtime::tokio().timeout(Duration::from_secs(30), listener.next()).await;
    heard.expect("a notice comes soon").expect("the listener is still there")
}

/// Hears until a notice concerns `wanted`, and sees that none concerned `other`.
async fn hears_of(listener: &mut dyn Listener, wanted: &JobName, other: &JobName) {
    loop {
        let notice = heard(listener).await;
        assert!(!notice.concerns(std::slice::from_ref(other)), "{other} was noticed: {notice:?}");
        if notice.concerns(std::slice::from_ref(wanted)) {
            return;
        }
    }
}

async fn due_item_is_noticed_by_all_who_listen(s: &Subject) {
    let (Some(mut one), Some(mut other)) = (s.listen().await, s.listen().await) else { return };
    let (mail, push) = (job("mail"), job("push"));
    s.enqueue_one(&mail, |_| {}).await;
    hears_of(&mut *one, &mail, &push).await;
    hears_of(&mut *other, &mail, &push).await;
    drop(one);
    s.enqueue_one(&push, |item| item.due = Due::At(s.after(-1))).await;
    hears_of(&mut *other, &push, &job("sms")).await;
}

async fn item_due_later_is_not_noticed(s: &Subject) {
    let Some(mut listener) = s.listen().await else { return };
    let (later, now) = (job("later"), job("now"));
    s.enqueue_one(&later, |item| item.due = Due::AfterMs(1)).await;
    s.enqueue_one(&later, |item| item.due = Due::At(s.after(1))).await;
    s.enqueue_one(&now, |_| {}).await;
    hears_of(&mut *listener, &now, &later).await;
}

async fn duplicate_is_not_noticed(s: &Subject) {
    let (queue, marker, now) = (job("q"), job("marker"), job("now"));
    let id = s.enqueue_one(&queue, |_| {}).await;
    let Some(mut listener) = s.listen().await else { return };
    // A store that gathers may still have to tell of the first.
    s.enqueue_one(&marker, |_| {}).await;
    while !heard(&mut *listener).await.concerns(std::slice::from_ref(&marker)) {}
    s.enqueue(&queue, vec![s.item_with(|item| item.id = id)]).await;
    s.enqueue_one(&now, |_| {}).await;
    hears_of(&mut *listener, &now, &queue).await;
}

async fn new_slot_is_noticed(s: &Subject) {
    let Some(mut listener) = s.listen().await else { return };
    let (rollup, empty) = (job("rollup"), job("empty"));
    s.add(&empty, Vec::new()).await;
    s.add_one(&rollup, |_| {}).await;
    hears_of(&mut *listener, &rollup, &empty).await;
}

async fn item_brought_forward_is_noticed(s: &Subject) {
    let queue = job("q");
    let id = s.enqueue_one(&queue, |item| item.due = Due::AfterMs(60_000)).await;
    let Some(mut listener) = s.listen().await else { return };
    let change = |due| UpdateItem { queue: queue.clone(), id, payload: None, priority: None, due };
    s.call(change(Some(Due::AfterMs(0)))).await;
    hears_of(&mut *listener, &queue, &job("other")).await;
}

async fn requeued_row_is_noticed(s: &Subject) {
    let rollup = job("rollup");
    let id = s.ended(&rollup, failed_for_good()).await;
    let Some(mut listener) = s.listen().await else { return };
    s.requeue(id).await;
    assert!(heard(&mut *listener).await.concerns(&[rollup]));
}

async fn row_given_back_is_noticed(s: &Subject) {
    let rollup = job("rollup");
    let lease = s.claimed(&rollup, |_| {}).await;
    let Some(mut listener) = s.listen().await else { return };
    s.settle(lease, Outcome::Released).await.expect("just claimed");
    assert!(heard(&mut *listener).await.concerns(&[rollup]));
}

async fn ended_row_is_not_noticed(s: &Subject) {
    let (rollup, now) = (job("rollup"), job("now"));
    let lease = s.running(&rollup, |_| {}).await;
    let Some(mut listener) = s.listen().await else { return };
    s.settle(lease, failed_for_good()).await.expect("just started");
    s.enqueue_one(&now, |_| {}).await;
    loop {
        let notice = heard(&mut *listener).await;
        assert!(!matches!(notice, Notice::Any), "the end of a row is nobody's to pick up");
        if notice.concerns(std::slice::from_ref(&now)) {
            return;
        }
    }
}

async fn probe_succeeds_and_keeps_what_was_noticed(s: &Subject) {
    let Some(mut listener) = s.listen().await else { return };
    let queue = job("q");
    s.enqueue_one(&queue, |_| {}).await;
    for _ in 0..2 {
        let probed = Runtime::tokio().timeout(Duration::from_secs(30), listener.probe()).await;
        probed.expect("a probe ends soon").expect("the listener is good");
    }
    hears_of(&mut *listener, &queue, &job("other")).await;
}
