//! The reasons why no run reaches a mark are those of marks that are there.
#![cfg(feature = "zoo")]

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use tourbillon_sim::coverage;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn a_reason_is_given_for_a_mark_that_is_there() {
    let marks = coverage::marks(&root()).unwrap_or_else(|error| panic!("{error}"));
    let names: BTreeSet<_> = marks.iter().map(|mark| mark.name.as_str()).collect();
    let stale: Vec<_> = coverage::explained().filter(|mark| !names.contains(mark)).collect();
    assert!(stale.is_empty(), "sim/src/coverage/reasons.rs explains what is not there: {stale:#?}");
}
