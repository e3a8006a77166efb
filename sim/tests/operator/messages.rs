//! Loops 6, 7 and 10.

use tourbillon_sim::{
    fault::{Bad, Then, TriggerPoint},
    operator::loops::Loop,
};

use super::world::Run;

/// What loop 6 could not send is for loop 7.
const SENDERS: [Loop; 2] = [Loop::NotificationProcess, Loop::NotificationRetry];

/// Documented: duplicates ≤ N. Confirmed: read, send, mark, on every replica.
#[test]
fn naive_notification_is_sent_once_per_replica() {
    let shown = Run::of(&SENDERS).show();
    assert_eq!(shown.counts(Loop::NotificationProcess), (3, 1));
}

/// Documented: duplicates ≤ N. Refuted: when the mark fails the row stays pending, and is sent again each tick. One
/// replica is enough.
#[test]
fn naive_notification_is_sent_again_each_tick_while_its_mark_fails() {
    let mut run = Run::of(&SENDERS).replicas(1);
    for nth in 1..=5 {
        run = run.strike(Loop::NotificationProcess, (TriggerPoint::EffectReceived, nth), Then::Partition, 20);
    }
    let shown = run.show();
    assert!(shown.naive(Loop::NotificationProcess, "effects per notification") > 1);
}

/// Documented: duplicates ≤ N. Refuted without any fault: what was sent by one replica and failed at another is failed
/// again, and retried by all.
#[test]
fn naive_retries_add_up_to_more_than_one_send_per_replica() {
    let shown = Run::of(&SENDERS).show();
    let (naive, hardened) = shown.counts(Loop::NotificationRetry);
    assert!(naive > 3, "{naive}");
    assert_eq!(hardened, 1);
}

/// Documented: duplicates. Confirmed: one e-mail per replica, recipient and day.
#[test]
fn naive_digest_is_sent_once_per_replica() {
    let shown = Run::of(&[Loop::Digest]).reliable().hours(25).show();
    assert_eq!(shown.counts(Loop::Digest), (3, 1));
}

/// Not documented: the interval begins anew with every process. Replicas that restart more often than once a day send
/// nothing, ever.
#[test]
fn naive_digest_starves_when_replicas_restart_more_often_than_its_period() {
    let mut run = Run::of(&[Loop::Digest]).hours(50);
    for half_day in 1..=4 {
        for replica in 0..3 {
            run = run.fault(half_day * 42_000, 10, replica, Bad::Shutdown { grace_s: 5 });
        }
    }
    let shown = run.show();
    assert!(shown.naive(Loop::Digest, "periods without a digest") > 0);
}
