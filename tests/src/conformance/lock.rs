//! Cases of locks: one holder per epoch, epochs that only grow, who may renew and release, the database's clock.

use tourbillon::{
    model::{Epoch, HeldBy, Incarnation, Lock, LockHeld, LockName, LockRef, RequestId, Token, transition::Refusal},
    store::{AcquireLock, ErrorKind, ListLocks, Prune, ReleaseLock, RenewLock},
};
use uuid::Uuid;

use super::subject::{Subject, runner};

super::cases! {
    free_lock_is_acquired_with_the_first_epoch,
    held_lock_names_its_holder_and_is_not_waited_for,
    lock_is_held_through_the_last_instant_of_its_time_to_live,
    epoch_grows_with_every_holder_and_survives_release,
    released_lock_is_free_at_once,
    release_is_repeatable_and_only_its_holder_may,
    renewed_lock_outlives_its_first_expiry,
    renewal_by_name_alone_is_refused,
    expired_lock_is_not_renewed_even_if_nobody_took_it,
    released_lock_is_not_renewed,
    repeated_acquire_is_told_of_its_own_success,
    repeated_acquire_is_told_of_its_own_success_after_it_was_lost,
    repeated_acquire_that_found_the_lock_held_may_find_it_free,
    lock_that_was_held_leaves_no_receipt,
    locks_are_independent_of_each_other,
    pruning_keeps_epochs,
    rescue_after_a_backward_step_cuts_locks_to_their_time_to_live,
    rescue_after_a_backward_step_leaves_released_locks_alone,
    rescue_after_a_backward_step_leaves_locks_of_the_present_alone,
    locks_are_listed_by_name_in_pages,
    time_to_live_has_a_range,
}

const TTL: i64 = 30_000;

fn name(name: &str) -> LockName {
    LockName::new(name).expect("names in cases are valid")
}

fn other() -> Incarnation {
    Incarnation(Uuid::from_u128(0xb0b))
}

fn acquire_as(holder: Incarnation, lock: &str) -> AcquireLock {
    AcquireLock { name: name(lock), holder, ttl_ms: TTL.unsigned_abs() }
}

/// Acquires a lock that is free.
async fn taken(s: &Subject, lock: &str) -> LockRef {
    let request = s.request(acquire_as(runner(), lock));
    let held = s.repeat::<AcquireLock>(&request).await.outcome.expect("free");
    LockRef { name: name(lock), token: Token(request.id.0), epoch: held.epoch }
}

async fn tried(s: &Subject, lock: &str) -> Result<LockHeld, HeldBy> {
    s.call(acquire_as(other(), lock)).await.outcome
}

async fn renewed(s: &Subject, lock: &LockRef) -> Result<tourbillon::model::Timestamp, Refusal> {
    s.call(RenewLock { lock: lock.clone() }).await.outcome
}

async fn released(s: &Subject, lock: &LockRef) -> Result<(), Refusal> {
    s.call(ReleaseLock { lock: lock.clone() }).await.outcome
}

async fn listed(s: &Subject) -> Vec<Lock> {
    s.call(ListLocks { after: None, limit: 100 }).await.locks
}

// P-28
async fn free_lock_is_acquired_with_the_first_epoch(s: &Subject) {
    let request = s.request(acquire_as(runner(), "crl"));
    let held = s.repeat::<AcquireLock>(&request).await.outcome.expect("free");
    assert_eq!(held, LockHeld { epoch: Epoch(1), expires_at: s.after(TTL) });
    let row = Lock {
        name: name("crl"),
        epoch: Epoch(1),
        holder: runner(),
        token: Token(request.id.0),
        ttl_ms: TTL.unsigned_abs(),
        acquired_at: s.now(),
        renewed_at: s.now(),
        expires_at: s.after(TTL),
        released_at: None,
    };
    assert_eq!(listed(s).await, [row]);
}

// P-22, P-28
async fn held_lock_names_its_holder_and_is_not_waited_for(s: &Subject) {
    taken(s, "crl").await;
    s.pass(1_000);
    let held_by = HeldBy { holder: runner(), epoch: Epoch(1), expires_at: s.after(TTL - 1_000) };
    assert_eq!(tried(s, "crl").await, Err(held_by));
    assert_eq!(s.call(acquire_as(runner(), "crl")).await.outcome, Err(held_by), "not even its own holder, again");
}

/// G7: expiry compares strictly.
async fn lock_is_held_through_the_last_instant_of_its_time_to_live(s: &Subject) {
    taken(s, "crl").await;
    s.pass(TTL);
    assert!(tried(s, "crl").await.is_err());
    s.pass_micros(1);
    assert_eq!(tried(s, "crl").await.expect("expired").epoch, Epoch(2));
}

/// G7.
async fn epoch_grows_with_every_holder_and_survives_release(s: &Subject) {
    for epoch in 1..=3 {
        let lock = taken(s, "crl").await;
        assert_eq!(lock.epoch, Epoch(epoch));
        assert_eq!(released(s, &lock).await, Ok(()));
        assert_eq!(listed(s).await[0].epoch, Epoch(epoch));
    }
}

async fn released_lock_is_free_at_once(s: &Subject) {
    let lock = taken(s, "crl").await;
    assert_eq!(released(s, &lock).await, Ok(()));
    assert_eq!(tried(s, "crl").await.expect("free").epoch, Epoch(2));
}

/// G7.
async fn release_is_repeatable_and_only_its_holder_may(s: &Subject) {
    let first = taken(s, "crl").await;
    assert_eq!(released(s, &first).await, Ok(()));
    s.pass(5);
    assert_eq!(released(s, &first).await, Ok(()));
    let second = taken(s, "crl").await;
    assert_eq!(released(s, &first).await, Err(Refusal::LeaseLost));
    let forged = LockRef { token: first.token, ..second.clone() };
    assert_eq!(released(s, &forged).await, Err(Refusal::LeaseLost));
    let stale = LockRef { epoch: first.epoch, ..second.clone() };
    assert_eq!(released(s, &stale).await, Err(Refusal::LeaseLost));
    assert_eq!(listed(s).await[0].released_at, None, "the second holder still has it");
    let unknown = LockRef { name: name("nobody's"), ..second };
    assert_eq!(released(s, &unknown).await, Err(Refusal::LeaseLost));
}

async fn renewed_lock_outlives_its_first_expiry(s: &Subject) {
    let lock = taken(s, "crl").await;
    s.pass(TTL / 3);
    assert_eq!(renewed(s, &lock).await, Ok(s.after(TTL)));
    s.pass(TTL);
    assert!(tried(s, "crl").await.is_err(), "held through the last instant");
    assert_eq!(renewed(s, &lock).await, Ok(s.after(TTL)), "and may be renewed then");
    let row = listed(s).await.remove(0);
    assert_eq!((row.acquired_at, row.renewed_at), (s.after(-TTL - TTL / 3), s.now()));
}

/// G7, B1.
async fn renewal_by_name_alone_is_refused(s: &Subject) {
    let first = taken(s, "crl").await;
    s.pass(TTL + 1);
    let second = taken(s, "crl").await;
    assert_eq!(renewed(s, &first).await, Err(Refusal::LeaseLost));
    let forged = LockRef { token: first.token, ..second.clone() };
    assert_eq!(renewed(s, &forged).await, Err(Refusal::LeaseLost));
    let stale = LockRef { epoch: first.epoch, ..second.clone() };
    assert_eq!(renewed(s, &stale).await, Err(Refusal::LeaseLost));
    let unknown = LockRef { name: name("nobody's"), ..second };
    assert_eq!(renewed(s, &unknown).await, Err(Refusal::LeaseLost));
}

/// Its holder has stopped; B17: it must not keep others waiting.
async fn expired_lock_is_not_renewed_even_if_nobody_took_it(s: &Subject) {
    let lock = taken(s, "crl").await;
    s.pass(TTL);
    s.pass_micros(1);
    assert_eq!(renewed(s, &lock).await, Err(Refusal::LeaseLost));
    assert_eq!(listed(s).await[0].expires_at, s.now().offset_micros(-1));
}

async fn released_lock_is_not_renewed(s: &Subject) {
    let lock = taken(s, "crl").await;
    assert_eq!(released(s, &lock).await, Ok(()));
    assert_eq!(renewed(s, &lock).await, Err(Refusal::LeaseLost));
    assert!(tried(s, "crl").await.is_ok());
}

/// B32: a reply that was lost after the commit does not make the holder believe that somebody else has it.
async fn repeated_acquire_is_told_of_its_own_success(s: &Subject) {
    let request = s.request(acquire_as(runner(), "crl"));
    let first = s.repeat::<AcquireLock>(&request).await;
    s.pass(1_000);
    assert_eq!(s.repeat::<AcquireLock>(&request).await, first);
    assert_eq!(listed(s).await[0].epoch, Epoch(1));
}

/// B32.
async fn repeated_acquire_is_told_of_its_own_success_after_it_was_lost(s: &Subject) {
    let request = s.request(acquire_as(runner(), "crl"));
    let first = s.repeat::<AcquireLock>(&request).await;
    s.pass(TTL + 1);
    let second = taken(s, "crl").await;
    assert_eq!(s.repeat::<AcquireLock>(&request).await, first);
    assert_eq!(listed(s).await[0].token, second.token);
}

async fn repeated_acquire_that_found_the_lock_held_may_find_it_free(s: &Subject) {
    let lock = taken(s, "crl").await;
    let request = s.request(acquire_as(other(), "crl"));
    assert!(s.repeat::<AcquireLock>(&request).await.outcome.is_err());
    assert_eq!(released(s, &lock).await, Ok(()));
    assert_eq!(s.repeat::<AcquireLock>(&request).await.outcome.expect("free").epoch, Epoch(2));
}

/// Idle polling must not write.
async fn lock_that_was_held_leaves_no_receipt(s: &Subject) {
    let lock = taken(s, "crl").await;
    assert!(tried(s, "crl").await.is_err());
    assert!(renewed(s, &lock).await.is_ok());
    s.pass(10);
    let pruned = s.call(Prune { history_ms: 0, receipts_ms: 0, edits_ms: u64::MAX, limit: 100 }).await;
    assert_eq!(pruned.receipts, 1, "that of the holder alone");
}

/// A29.
async fn locks_are_independent_of_each_other(s: &Subject) {
    let crl = taken(s, "crl").await;
    let digest = taken(s, "digest").await;
    assert_eq!((crl.epoch, digest.epoch), (Epoch(1), Epoch(1)));
    assert_eq!(released(s, &crl).await, Ok(()));
    assert!(tried(s, "digest").await.is_err());
    assert!(renewed(s, &digest).await.is_ok());
}

/// G7: a lock that nobody used for years still fences.
async fn pruning_keeps_epochs(s: &Subject) {
    let lock = taken(s, "crl").await;
    assert_eq!(released(s, &lock).await, Ok(()));
    s.pass(1_000_000);
    s.call(Prune { history_ms: 0, receipts_ms: 0, edits_ms: u64::MAX, limit: 100 }).await;
    assert_eq!(tried(s, "crl").await.expect("free").epoch, Epoch(2));
}

// P-12
async fn rescue_after_a_backward_step_cuts_locks_to_their_time_to_live(s: &Subject) {
    s.pass(3_600_000);
    s.rescue().await;
    let old = taken(s, "old").await;
    s.pass(10_000);
    let lock = taken(s, "crl").await;
    s.rescue().await;
    s.pass(-3_600_000);
    let rescued = s.rescue().await;
    assert_eq!(rescued.clamped_locks, [name("crl"), name("old")]);
    assert!(tried(s, "crl").await.is_err(), "its holder keeps it");
    s.pass(TTL / 2);
    assert_eq!(renewed(s, &lock).await, Ok(s.after(TTL)));
    s.pass(TTL / 2);
    s.pass_micros(1);
    assert_eq!(tried(s, "old").await.expect("expired in the present").epoch, Epoch(old.epoch.0 + 1));
}

async fn rescue_after_a_backward_step_leaves_locks_of_the_present_alone(s: &Subject) {
    taken(s, "crl").await;
    s.pass(3_600_000);
    s.rescue().await;
    s.pass(-3_600_000);
    assert!(s.rescue().await.clamped_locks.is_empty());
}

async fn rescue_after_a_backward_step_leaves_released_locks_alone(s: &Subject) {
    s.rescue().await;
    let lock = taken(s, "crl").await;
    assert_eq!(released(s, &lock).await, Ok(()));
    s.pass(1_000);
    s.rescue().await;
    s.pass(-2_000);
    assert!(s.rescue().await.clamped_locks.is_empty());
    assert_eq!(tried(s, "crl").await.expect("free").epoch, Epoch(2));
}

async fn locks_are_listed_by_name_in_pages(s: &Subject) {
    for lock in ["digest", "Über", "crl", "Zeta"] {
        taken(s, lock).await;
    }
    let names = |locks: Vec<Lock>| locks.iter().map(|lock| lock.name.to_string()).collect::<Vec<_>>();
    assert_eq!(names(listed(s).await), ["Zeta", "crl", "digest", "Über"]);
    let page = s.call(ListLocks { after: Some(name("Zeta")), limit: 2 }).await;
    assert_eq!((page.now, names(page.locks)), (s.now(), vec!["crl".to_owned(), "digest".to_owned()]));
    assert!(s.call(ListLocks { after: Some(name("Über")), limit: 2 }).await.locks.is_empty());
}

async fn time_to_live_has_a_range(s: &Subject) {
    for ttl_ms in [0, tourbillon::model::MAX_TTL_MS + 1, u64::MAX] {
        let refused = s.refused(AcquireLock { ttl_ms, ..acquire_as(runner(), "crl") }).await;
        assert_eq!(refused.kind(), ErrorKind::Invalid);
        assert!(refused.message().contains("ttl_ms"), "{refused}");
    }
    for ttl_ms in [1, tourbillon::model::MAX_TTL_MS] {
        let tried = s.call(AcquireLock { ttl_ms, ..acquire_as(runner(), "crl") }).await;
        assert!(tried.outcome.is_ok());
        s.pass(2);
    }
    let epoch = Epoch(u64::MAX >> 1);
    let unseen = LockRef { name: name("crl"), token: Token(RequestId(s.uuid()).0), epoch };
    assert_eq!(renewed(s, &unseen).await, Err(Refusal::LeaseLost));
}
