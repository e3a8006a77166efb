//! The marks of the sources are those of the committed report, and each that no run reaches says why.
#![cfg(feature = "zoo")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use tourbillon_sim::coverage::{self, Kind};

const MAKE: &str = "cargo run --release -p tourbillon-cli --features zoo -- sim coverage --out scenarios/tables";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn the_report_knows_every_mark_of_the_sources() {
    let marks = coverage::marks(&root()).unwrap_or_else(|error| panic!("{error}"));
    let is_named = |mark: &&coverage::Mark| mark.kind != Kind::Objection;
    let there: BTreeSet<_> = marks.iter().filter(is_named).map(|mark| mark.name.as_str()).collect();
    assert!(there.len() >= 80, "{}", there.len());
    let path = root().join("scenarios/tables/coverage.json");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let report: Value = serde_json::from_str(&text).expect("the report is JSON");
    let rows = report["rows"].as_array().expect("it has rows");
    let told: BTreeSet<_> = rows
        .iter()
        .filter(|row| row["kind"] != "objection")
        .map(|row| row["mark"].as_str().expect("a name"))
        .collect();
    let differ: Vec<_> = there.symmetric_difference(&told).collect();
    assert!(differ.is_empty(), "make the report anew, with `{MAKE}`: {differ:#?}");
}

#[test]
fn a_reason_is_given_for_a_mark_that_is_there() {
    let marks = coverage::marks(&root()).unwrap_or_else(|error| panic!("{error}"));
    let names: BTreeSet<_> = marks.iter().map(|mark| mark.name.as_str()).collect();
    let stale: Vec<_> = coverage::explained().filter(|mark| !names.contains(mark)).collect();
    assert!(stale.is_empty(), "sim/src/coverage/reasons.rs explains what is not there: {stale:#?}");
}
