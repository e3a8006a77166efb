//! Cases of `migrate`, on a database without any table (G12).

use tourbillon::store::{
    ErrorKind, ListLocks, Migrate, Migrated, ReadClock, ReadStats, Rescue, SCHEMA_VERSION, StoreError,
};

use super::subject::{Subject, job};

super::cases! { unmigrated:
    each_step_is_applied_once_and_in_order,
    repeated_request_applies_no_step_again,
    nothing_else_is_done_before_the_last_step,
    older_program_goes_as_far_as_it_knows,
    schema_newer_than_the_program_is_refused,
    version_that_nobody_knows_is_refused,
}

const NEWEST: Migrate = Migrate { known: SCHEMA_VERSION };

fn step(from: u32, to: u32) -> Migrated {
    Migrated { from, to }
}

async fn complete(s: &Subject) {
    while s.call(NEWEST).await.to < SCHEMA_VERSION {}
}

fn names(error: &StoreError, what: &[&str]) {
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert!(what.iter().all(|what| error.message().contains(what)), "{error} does not name {what:?}");
}

// P-44
async fn each_step_is_applied_once_and_in_order(s: &Subject) {
    for version in 0..SCHEMA_VERSION {
        assert_eq!(s.call(NEWEST).await, step(version, version + 1));
        s.pass(1_000);
    }
    for _ in 0..2 {
        assert_eq!(s.call(NEWEST).await, step(SCHEMA_VERSION, SCHEMA_VERSION));
    }
    s.running(&job("digest"), |_| {}).await;
}

/// A reply was lost, and the request is sent again.
// P-44
async fn repeated_request_applies_no_step_again(s: &Subject) {
    let request = s.request(NEWEST);
    for version in 0..SCHEMA_VERSION {
        assert_eq!(s.repeat::<Migrate>(&request).await, step(version, version + 1));
    }
    assert_eq!(s.repeat::<Migrate>(&request).await, step(SCHEMA_VERSION, SCHEMA_VERSION));
}

// P-44
async fn nothing_else_is_done_before_the_last_step(s: &Subject) {
    for version in 0..SCHEMA_VERSION {
        names(&s.refused(ReadClock {}).await, &["run migrate"]);
        names(&s.refused(ReadStats {}).await, &["run migrate"]);
        names(&s.refused(Rescue { limit: 1 }).await, &["run migrate"]);
        names(&s.refused(ListLocks { after: None, limit: 1 }).await, &["run migrate"]);
        assert_eq!(s.call(NEWEST).await, step(version, version + 1));
    }
    s.call(ReadClock {}).await;
}

/// An older replica boots beside newer ones.
// P-44
async fn older_program_goes_as_far_as_it_knows(s: &Subject) {
    let older = Migrate { known: 1 };
    assert_eq!(s.call(older).await, step(0, 1));
    assert_eq!(s.call(older).await, step(1, 1));
    complete(s).await;
}

// P-44
async fn schema_newer_than_the_program_is_refused(s: &Subject) {
    complete(s).await;
    let older = SCHEMA_VERSION - 1;
    let error = s.refused(Migrate { known: older }).await;
    names(&error, &[&SCHEMA_VERSION.to_string(), &older.to_string(), "update the program"]);
    assert_eq!(s.call(NEWEST).await, step(SCHEMA_VERSION, SCHEMA_VERSION));
}

async fn version_that_nobody_knows_is_refused(s: &Subject) {
    for known in [0, SCHEMA_VERSION + 1, u32::MAX] {
        names(&s.refused(Migrate { known }).await, &[&known.to_string()]);
    }
    complete(s).await;
}
