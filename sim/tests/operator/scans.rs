//! Loops 9, 12 and 13.

use tourbillon_sim::{
    fault::{Bad, Then, TriggerPoint},
    operator::loops::Loop,
};

use super::world::Run;

/// Documented: store clean, probes × N. Confirmed.
#[test]
fn naive_scan_probes_once_per_replica_and_stores_once() {
    let shown = Run::of(&[Loop::NetworkScan]).show();
    let (naive, _) = shown.counts(Loop::NetworkScan);
    assert_eq!(naive, 3);
    assert_eq!(shown.naive(Loop::NetworkScan, "rows per finding"), 1);
}

/// Not documented: the interval begins anew with every process, and with it the scan.
#[test]
fn naive_scan_is_repeated_by_every_restart() {
    let begun = |nth| (TriggerPoint::UnitEnded, nth);
    let run = Run::of(&[Loop::NetworkScan]).strike(Loop::NetworkScan, begun(3), Then::PowerLoss, 60);
    assert!(run.show().naive(Loop::NetworkScan, "probes per (network, period)") > 3);
}

/// Documented: duplicate scan. Confirmed, and each call is billed.
#[test]
fn naive_discovery_is_billed_once_per_replica() {
    let shown = Run::of(&[Loop::CloudDiscovery]).show();
    assert_eq!(shown.counts(Loop::CloudDiscovery), (3, 1));
    assert_eq!(shown.naive(Loop::CloudDiscovery, "rows per finding"), 1);
}

/// Documented: duplicate signing, last writer wins. Confirmed; and every list of a tick has the same number.
#[test]
fn naive_list_is_signed_once_per_replica_under_one_number() {
    let shown = Run::of(&[Loop::CrlGeneration]).hours(3).show();
    assert_eq!(shown.counts(Loop::CrlGeneration), (3, 1));
    assert!(shown.naive(Loop::CrlGeneration, "numbers not above the last") > 0);
}

/// Not documented: the last writer need not have the newest list. One replica was restarted, so that its ticks come
/// three minutes after the others'; of these one stands still between signature and publication, for less than its
/// timeout, and then publishes the list it has over the one that came meanwhile.
#[test]
fn naive_signer_that_was_paused_publishes_an_older_list_over_a_newer_one() {
    let mut run = Run::of(&[Loop::CrlGeneration]).hours(3).fault(170, 10, 1, Bad::Shutdown { grace_s: 0 });
    for hour in 1..=2 {
        let first_of_hour = (TriggerPoint::EffectReceived, 3 * hour - 2);
        run = run.strike(Loop::CrlGeneration, first_of_hour, Then::Pause, 240);
    }
    assert!(run.show().naive(Loop::CrlGeneration, "older lists over newer ones") > 0);
}
