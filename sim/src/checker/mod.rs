//! The checkers: one file per guarantee, reading nothing but the history.
//!
//! Unknown stays unknown: a checker accuses only of what the history proves.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::history::History;

/// A guarantee that was broken, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// `G1` … `G15`, or `PANIC`.
    pub guarantee: String,
    /// What happened, in one sentence that names execution, tokens and instants.
    pub message: String,
    /// Indices of the events that prove it, ascending; the last one completes the proof.
    pub events: Vec<usize>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.guarantee, self.message)
    }
}

/// What a checker found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// How many individual facts were compared; zero means that the guarantee was not exercised.
    pub checks: u64,
    /// What was broken.
    pub violations: Vec<Violation>,
}

/// A guarantee's checker.
pub struct Checker {
    /// `G1` … `G15`, or `PANIC`.
    pub guarantee: &'static str,
    /// One line for tables.
    pub about: &'static str,
    /// Reads a finished history.
    pub check: fn(&History) -> Findings,
}
