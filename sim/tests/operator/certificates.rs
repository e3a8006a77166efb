//! Loops 1, 2, 3, 4 and 8.

use tourbillon_sim::{
    fault::{Bad, Then, TriggerPoint},
    operator::loops::Loop,
};

use super::world::Run;

/// Documented: idempotent. Found: check, then insert; replicas that tick together all insert.
#[test]
fn naive_renewal_check_makes_a_job_and_an_alert_per_replica() {
    let shown = Run::of(&[Loop::RenewalCheck]).show();
    assert_eq!(shown.counts(Loop::RenewalCheck), (3, 1));
}

/// Documented: safe by SKIP LOCKED. Confirmed without faults: no attempt is issued twice.
#[test]
fn naive_jobs_are_claimed_once_without_faults() {
    let shown = Run::of(&[Loop::RenewalCheck, Loop::JobProcessor, Loop::JobRetry, Loop::JobTimeout]).show();
    assert_eq!(shown.counts(Loop::JobProcessor), (1, 1));
    assert_eq!(shown.naive(Loop::JobProcessor, "illegal edges"), 0);
    assert_eq!(shown.naive(Loop::JobProcessor, "claims per attempt"), 1);
}

/// Not documented: the claim has no lease and the end no fence. (Against a process that stands still the operation
/// timeout helps; against the network it does not.) An end that the network held back arrives when the job was failed,
/// retried and done by somebody else.
#[test]
fn naive_end_that_was_held_back_ends_a_job_that_is_not_its_own() {
    let loops = [Loop::RenewalCheck, Loop::JobProcessor, Loop::JobRetry, Loop::JobTimeout];
    let marking = (TriggerPoint::UnitMarking, 1);
    let shown = Run::of(&loops).strike(Loop::JobProcessor, marking, Then::Hold, 2_400).show();
    assert!(shown.naive(Loop::JobProcessor, "illegal edges") > 0);
}

/// Not documented: without the job timeout, a job of a dead processor stays running for ever.
#[test]
fn naive_job_of_a_dead_processor_is_stranded_without_its_timeout() {
    let loops = [Loop::RenewalCheck, Loop::JobProcessor, Loop::JobRetry];
    let landed = (TriggerPoint::EffectReceived, 1);
    let shown = Run::of(&loops).strike(Loop::JobProcessor, landed, Then::PowerLoss, 5).show();
    assert!(shown.naive(Loop::JobProcessor, "jobs stranded") > 0);
}

/// Documented: safe by claim. Found: the transition is, its audit event is not; it is lost with the reply.
#[test]
fn naive_retry_loses_its_audit_event_with_a_reply() {
    let loops = [Loop::RenewalCheck, Loop::JobProcessor, Loop::JobRetry];
    let mut run = Run::of(&loops);
    for nth in 1..=60 {
        run = run.strike(Loop::JobRetry, (TriggerPoint::UnitMarking, nth), Then::LoseReply, 0);
    }
    let shown = run.show();
    let (naive, hardened) = shown.counts(Loop::JobRetry);
    assert!(naive > 0, "no retry was struck");
    assert_eq!(hardened, 0);
}

/// Documented: one guarded update. Confirmed but for the clock: a replica whose clock is ahead fails jobs that were
/// just begun.
#[test]
fn naive_timeout_fails_live_jobs_when_its_clock_is_ahead() {
    let loops = [Loop::RenewalCheck, Loop::JobProcessor, Loop::JobRetry, Loop::JobTimeout];
    let ahead = |run: Run, ms| run.fault(1, 0, 0, Bad::ClockOffset { by_ms: ms });
    let shown = ahead(Run::of(&loops).hours(3), 3_600_000).strike(
        Loop::JobProcessor,
        (TriggerPoint::EffectReceived, 6),
        Then::PowerLoss,
        900,
    );
    let shown = shown.show();
    assert!(shown.naive(Loop::JobTimeout, "jobs failed that did not stand still") > 0);
}

/// Documented: idempotent. Found: every replica that reads a certificate as ended writes an audit event of its own.
#[test]
fn naive_expiry_is_audited_once_per_replica() {
    let shown = Run::of(&[Loop::ShortLivedExpiry]).show();
    let (naive, hardened) = shown.counts(Loop::ShortLivedExpiry);
    assert!(naive > 0);
    assert_eq!(hardened, 0);
}
