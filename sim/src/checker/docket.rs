//! Counts what was compared and collects what was broken; judges nothing.

use super::{Findings, MAX_VIOLATIONS, Violation};

/// The findings of one guarantee in the making.
pub(super) struct Docket {
    guarantee: &'static str,
    findings: Findings,
}

impl Docket {
    pub(super) fn new(guarantee: &'static str) -> Self {
        Self { guarantee, findings: Findings::default() }
    }

    /// Counts one comparison. If it does not hold, `message` becomes a violation proved by `events`.
    #[cfg_attr(feature = "zoo", track_caller)]
    pub(super) fn demand(&mut self, holds: bool, events: &[usize], message: impl FnOnce() -> String) {
        self.findings.checks += 1;
        #[cfg(feature = "zoo")]
        crate::coverage::demanded(std::panic::Location::caller(), holds);
        if holds || self.findings.violations.len() >= MAX_VIOLATIONS {
            return;
        }
        let mut events = events.to_vec();
        events.sort_unstable();
        events.dedup();
        let violation = Violation { guarantee: self.guarantee.to_owned(), message: message(), events };
        self.findings.violations.push(violation);
    }

    pub(super) fn close(self) -> Findings {
        self.findings
    }
}
