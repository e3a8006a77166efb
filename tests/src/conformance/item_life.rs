//! Cases of what operators do to items: change, delete, clean.

use tourbillon::{
    model::{Actor, Audit, AuditAction, AuditEvent, ExecutionId, JobName, Json, Outcome, State},
    store::{
        CleanItems, Counts, DeleteItems, DeleteOutcome, Due, Enqueue, EnqueueOutcome, Prune, RequeueOutcome, Unique,
        UpdateItem, UpdateOutcome,
    },
};

use super::subject::{Subject, failed, failed_for_good, job, operator, succeeded};

super::cases! {
    update_changes_what_it_names_and_nothing_else,
    update_puts_an_item_off_or_brings_it_forward,
    update_brings_a_retry_forward,
    withdrawn_delay_of_an_update_is_counted_from_the_present,
    running_and_finished_items_are_not_changed,
    item_of_another_queue_is_not_found,
    retried_update_changes_once,
    waiting_item_is_deleted_with_its_key,
    finished_item_is_deleted_with_all_its_lives,
    running_item_is_not_deleted,
    deletions_have_their_outcomes_in_order,
    deletion_is_told_and_keeps_the_id_taken,
    deletion_that_nobody_wants_told_frees_the_id,
    retried_deletion_answers_as_the_first,
    old_items_are_cleaned_oldest_first_and_told,
    clean_takes_the_states_that_it_names,
    clean_leaves_requeued_items_alone,
    clean_refuses_live_states,
}

fn update(queue: &JobName, id: ExecutionId) -> UpdateItem {
    UpdateItem { queue: queue.clone(), id, payload: None, priority: None, due: None }
}

async fn delete(s: &Subject, queue: &JobName, ids: &[ExecutionId]) -> Vec<DeleteOutcome> {
    let verb = DeleteItems { queue: queue.clone(), ids: ids.to_vec(), actor: Some(operator("ada")) };
    s.call(verb).await.outcomes
}

async fn ended(s: &Subject, queue: &JobName, outcome: Outcome) -> ExecutionId {
    let id = s.enqueue_one(queue, |_| {}).await;
    end(s, queue, outcome).await;
    id
}

async fn end(s: &Subject, queue: &JobName, outcome: Outcome) {
    let (_, lease) = s.claim_one(queue).await;
    s.start(lease).await.expect("just claimed");
    s.settle(lease, outcome).await.expect("just started");
}

fn payload(n: u32) -> Option<Json> {
    Json::new(&serde_json::json!({ "n": n })).ok()
}

/// What its deletion left in the log.
async fn told(s: &Subject, id: ExecutionId) -> Vec<AuditEvent> {
    let events = s.audit(Some(id)).await;
    events.into_iter().filter(|event| event.action == AuditAction::Delete).collect()
}

// P-62
async fn update_changes_what_it_names_and_nothing_else(s: &Subject) {
    let name = job("notify");
    let id = s.enqueue_one(&name, |item| (item.payload, item.priority) = (payload(1), 4)).await;
    let before = s.get(id).await;
    s.pass(5);
    let updated = s.call(UpdateItem { payload: payload(2), ..update(&name, id) }).await;
    assert_eq!((updated.now, updated.outcome), (s.now(), UpdateOutcome::Updated));
    let row = s.get(id).await;
    assert_eq!((row.payload.clone(), row.priority, row.updated_at), (payload(2), 4, s.now()));
    assert_eq!((row.due_at, row.claimable_at, row.fence), (before.due_at, before.claimable_at, before.fence));
    s.call(UpdateItem { priority: Some(-1), ..update(&name, id) }).await;
    let row = s.get(id).await;
    assert_eq!((row.payload, row.priority), (payload(2), -1));
    assert_eq!(s.claim_one(&name).await.0.payload, payload(2));
}

// P-62
async fn update_puts_an_item_off_or_brings_it_forward(s: &Subject) {
    let name = job("notify");
    let id = s.enqueue_one(&name, |_| {}).await;
    s.call(UpdateItem { due: Some(Due::AfterMs(1_000)), ..update(&name, id) }).await;
    s.pass_micros(999_999);
    assert!(s.nothing_to_claim(&name).await);
    s.call(UpdateItem { due: Some(Due::At(s.after(60_000))), ..update(&name, id) }).await;
    assert_eq!(s.get(id).await.due_at, s.after(60_000));
    s.pass(59_999);
    assert!(s.nothing_to_claim(&name).await);
    s.call(UpdateItem { due: Some(Due::AfterMs(0)), ..update(&name, id) }).await;
    assert_eq!(s.claim_one(&name).await.0.id, id);
}

// P-62
async fn update_brings_a_retry_forward(s: &Subject) {
    let name = job("notify");
    let id = ended(s, &name, failed(3_600_000)).await;
    s.call(UpdateItem { due: Some(Due::AfterMs(0)), ..update(&name, id) }).await;
    let (row, _) = s.claim_one(&name).await;
    assert_eq!((row.id, row.attempt), (id, 1), "attempts are kept");
}

async fn withdrawn_delay_of_an_update_is_counted_from_the_present(s: &Subject) {
    let name = job("notify");
    let relative = s.enqueue_one(&name, |item| item.due = Due::At(s.after(1_000))).await;
    let absolute = s.enqueue_one(&name, |_| {}).await;
    s.rescue().await;
    s.pass(3_600_000);
    s.call(UpdateItem { due: Some(Due::AfterMs(10_000)), ..update(&name, relative) }).await;
    let at = s.after(10_000);
    s.call(UpdateItem { due: Some(Due::At(at)), ..update(&name, absolute) }).await;
    s.rescue().await;
    s.pass(-3_600_000);
    s.rescue().await;
    assert_eq!(s.get(relative).await.claimable_at, Some(s.after(10_000)));
    assert_eq!(s.get(absolute).await.claimable_at, Some(at));
}

async fn running_and_finished_items_are_not_changed(s: &Subject) {
    let name = job("notify");
    let done = ended(s, &name, succeeded()).await;
    let held = s.enqueue_one(&name, |_| {}).await;
    s.claim_one(&name).await;
    let before = (s.get(done).await, s.get(held).await);
    s.pass(1);
    for (id, outcome) in [(done, UpdateOutcome::Ended), (held, UpdateOutcome::Running)] {
        assert_eq!(s.call(UpdateItem { payload: payload(9), ..update(&name, id) }).await.outcome, outcome);
    }
    assert_eq!((s.get(done).await, s.get(held).await), before);
}

async fn item_of_another_queue_is_not_found(s: &Subject) {
    let name = job("notify");
    let done = ended(s, &name, succeeded()).await;
    let item = s.enqueue_one(&name, |_| {}).await;
    let slot = s.add_one(&name, |row| row.slot_at = Some(s.after(-86_400_000))).await;
    for (queue, id) in [(job("other"), item), (job("other"), done), (name.clone(), slot), (name, s.id())] {
        let updated = s.call(UpdateItem { priority: Some(1), ..update(&queue, id) }).await;
        assert_eq!(updated.outcome, UpdateOutcome::NotFound);
        assert_eq!(delete(s, &queue, &[id]).await, [DeleteOutcome::NotFound]);
    }
}

async fn retried_update_changes_once(s: &Subject) {
    let name = job("notify");
    let id = s.enqueue_one(&name, |_| {}).await;
    let request = s.request(UpdateItem { due: Some(Due::AfterMs(1_000)), ..update(&name, id) });
    let first = s.repeat::<UpdateItem>(&request).await;
    s.pass(1_000);
    assert_eq!(s.repeat::<UpdateItem>(&request).await, first);
    assert_eq!(s.claim_one(&name).await.0.id, id);
}

// P-62
async fn waiting_item_is_deleted_with_its_key(s: &Subject) {
    let name = job("notify");
    let unique = Unique { key: "one".to_owned(), period_ms: None, counts: Counts::Live };
    let bounded = |item| Enqueue { queue: name.clone(), max_items: Some(1), items: vec![item] };
    let keyed = || s.item_with(|item| item.unique = Some(unique.clone()));
    let first = keyed();
    s.call(bounded(first.clone())).await;
    assert_eq!(delete(s, &name, &[first.id]).await, [DeleteOutcome::Deleted]);
    assert!(s.generations(first.id).await.is_empty());
    assert!(s.nothing_to_claim(&name).await);
    let second = keyed();
    assert_eq!(s.call(bounded(second.clone())).await.outcomes, [EnqueueOutcome::Enqueued(second.id)]);
}

// P-62
async fn finished_item_is_deleted_with_all_its_lives(s: &Subject) {
    let name = job("notify");
    let id = ended(s, &name, failed_for_good()).await;
    s.requeue(id).await;
    end(s, &name, failed_for_good()).await;
    assert_eq!(delete(s, &name, &[id]).await, [DeleteOutcome::Deleted]);
    assert!(s.generations(id).await.is_empty());
    assert_eq!(s.requeue(id).await, RequeueOutcome::NotFound);
    assert_eq!(delete(s, &name, &[id]).await, [DeleteOutcome::NotFound]);
}

async fn running_item_is_not_deleted(s: &Subject) {
    let name = job("notify");
    let id = s.enqueue_one(&name, |_| {}).await;
    let (_, lease) = s.claim_one(&name).await;
    assert_eq!(delete(s, &name, &[id]).await, [DeleteOutcome::Running]);
    assert_eq!(s.start(lease).await, Ok(1));
    assert_eq!(s.settle(lease, succeeded()).await, Ok(State::Succeeded));
}

async fn deletions_have_their_outcomes_in_order(s: &Subject) {
    let name = job("notify");
    let done = ended(s, &name, succeeded()).await;
    let held = s.enqueue_one(&name, |_| {}).await;
    s.claim_one(&name).await;
    let waiting = s.enqueue_one(&name, |_| {}).await;
    let outcomes = delete(s, &name, &[s.id(), waiting, held, done]).await;
    let expected = [DeleteOutcome::NotFound, DeleteOutcome::Deleted, DeleteOutcome::Running, DeleteOutcome::Deleted];
    assert_eq!(outcomes, expected);
    assert!(delete(s, &name, &[]).await.is_empty());
    s.refused(DeleteItems { queue: name, ids: vec![done, done], actor: None }).await;
}

/// G9. A producer who repeats an old enqueue does not bring the item back.
// P-69
async fn deletion_is_told_and_keeps_the_id_taken(s: &Subject) {
    let name = job("notify");
    let item = s.item_with(|item| item.policy.audit = Audit::Exceptions);
    s.enqueue(&name, vec![item.clone()]).await;
    delete(s, &name, &[item.id]).await;
    let events = told(s, item.id).await;
    let [event] = &events[..] else { panic!("one event, not {events:?}") };
    assert_eq!((event.actor.clone(), event.at), (Actor::operator(Some(&operator("ada"))), s.now()));
    assert_eq!((event.details.old_status, event.details.new_status), (Some(State::Scheduled), State::Cancelled));
    assert_eq!(s.enqueue(&name, vec![item.clone()]).await, [EnqueueOutcome::Duplicate(item.id)]);
    s.pass(10);
    s.call(Prune { history_ms: 1, receipts_ms: 1, edits_ms: u64::MAX, limit: 100 }).await;
    assert_eq!(s.enqueue(&name, vec![item.clone()]).await, [EnqueueOutcome::Enqueued(item.id)]);
}

async fn deletion_that_nobody_wants_told_frees_the_id(s: &Subject) {
    let name = job("notify");
    let item = s.item_with(|item| item.policy.audit = Audit::Off);
    s.enqueue(&name, vec![item.clone()]).await;
    delete(s, &name, &[item.id]).await;
    assert!(s.audit(Some(item.id)).await.is_empty());
    assert_eq!(s.enqueue(&name, vec![item.clone()]).await, [EnqueueOutcome::Enqueued(item.id)]);
}

async fn retried_deletion_answers_as_the_first(s: &Subject) {
    let name = job("notify");
    let id = ended(s, &name, succeeded()).await;
    let request = s.request(DeleteItems { queue: name, ids: vec![id], actor: None });
    let first = s.repeat::<DeleteItems>(&request).await;
    s.pass(5);
    assert_eq!(s.repeat::<DeleteItems>(&request).await, first);
}

fn clean(queue: &JobName, states: &[State], finished_ms: u64, limit: u32) -> CleanItems {
    CleanItems { queue: queue.clone(), states: states.to_vec(), finished_ms, limit }
}

/// G9: each removal is counted and told.
// P-69
async fn old_items_are_cleaned_oldest_first_and_told(s: &Subject) {
    let name = job("notify");
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(ended(s, &name, failed_for_good()).await);
        s.pass(1_000);
    }
    ended(s, &job("other"), failed_for_good()).await;
    let dead = [State::Dead];
    assert_eq!(s.call(clean(&name, &dead, 1_000, 1)).await.removed, ids[..1]);
    let cleaned = s.call(clean(&name, &dead, 1_000, 10)).await;
    assert_eq!((cleaned.now, &cleaned.removed[..]), (s.now(), &ids[1..2]), "as old as the bound is not older");
    assert!(s.generations(ids[0]).await.is_empty());
    let events = told(s, ids[0]).await;
    assert_eq!(events.len(), 1);
    assert_eq!((events[0].actor.clone(), events[0].details.new_status), (Actor::system(), State::Dead));
    assert_eq!(s.requeue(ids[2]).await, RequeueOutcome::Requeued(tourbillon::model::Generation(2)));
}

// P-69
async fn clean_takes_the_states_that_it_names(s: &Subject) {
    let name = job("notify");
    let dead = ended(s, &name, failed_for_good()).await;
    let done = ended(s, &name, succeeded()).await;
    s.enqueue_one(&name, |_| {}).await;
    s.pass(1);
    assert!(s.call(clean(&name, &[], 0, 10)).await.removed.is_empty());
    assert!(s.call(clean(&name, &[State::Cancelled, State::Skipped], 0, 10)).await.removed.is_empty());
    assert_eq!(s.call(clean(&name, &[State::Dead], 0, 10)).await.removed, [dead]);
    assert_eq!(s.call(clean(&name, &[State::Succeeded], 0, 10)).await.removed, [done]);
    assert!(!s.nothing_to_claim(&name).await);
}

/// Else the next generation of a requeue could be one that there was already, with its fences (G1).
async fn clean_leaves_requeued_items_alone(s: &Subject) {
    let name = job("notify");
    let id = ended(s, &name, failed_for_good()).await;
    s.requeue(id).await;
    s.pass(10);
    assert!(s.call(clean(&name, &[State::Dead], 0, 10)).await.removed.is_empty(), "it lives");
    end(s, &name, succeeded()).await;
    s.pass(10);
    assert!(s.call(clean(&name, &[State::Dead], 0, 10)).await.removed.is_empty(), "it ended well since");
    assert_eq!(s.call(clean(&name, &[State::Succeeded], 0, 10)).await.removed, [id]);
    assert!(s.generations(id).await.is_empty());
}

async fn clean_refuses_live_states(s: &Subject) {
    let name = job("notify");
    for state in [State::Scheduled, State::Running, State::Retryable] {
        s.refused(clean(&name, &[state], 0, 10)).await;
    }
    for limit in [0, 1_001] {
        s.refused(clean(&name, &[State::Dead], 0, limit)).await;
    }
}
