//! Agents that report, and endpoints that are probed (loops 5 and 11).

use serde::{Deserialize, Serialize};
use tourbillon::model::Timestamp;

use super::{Change, Operator, Reply, SILENCE, Told, after, count, no_row};

/// An agent.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Agent {
    /// When it last reported.
    pub(crate) reported_at: Timestamp,
    /// Whether it is taken for alive.
    pub(crate) online: bool,
}

/// An endpoint.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Check {
    /// Probes that failed, as counted.
    pub(crate) failures: u32,
    /// Probes recorded.
    pub(crate) probes: u32,
    /// Slots that were recorded, of guarded writes.
    pub(crate) slots: Vec<Timestamp>,
}

impl Operator {
    fn silent(&self, now: Timestamp) -> Vec<u32> {
        let silent = |agent: &Agent| agent.online && after(agent.reported_at, SILENCE) < now;
        self.agents.iter().filter(|(_, agent)| silent(agent)).map(|(id, _)| *id).collect()
    }

    pub(super) fn read_silent(&self, now: Timestamp) -> Told {
        Ok(Reply::Ids(self.silent(now)))
    }

    pub(super) fn set_offline(&mut self, id: u32, changes: &mut Vec<Change>) -> Told {
        let agent = self.agents.get_mut(&id).ok_or_else(|| no_row("agent", id))?;
        agent.online = false;
        changes.push(Change::Offline { id, reported_at: agent.reported_at });
        Ok(Reply::Done)
    }

    pub(super) fn mark_silent_offline(&mut self, now: Timestamp, changes: &mut Vec<Change>) -> Told {
        let silent = self.silent(now);
        for id in &silent {
            self.set_offline(*id, changes)?;
        }
        Ok(count(silent.len()))
    }

    pub(super) fn read_checks(&self) -> Told {
        Ok(Reply::Checks(self.checks.iter().map(|(id, check)| (*id, check.failures)).collect()))
    }

    pub(super) fn write_check(&mut self, id: u32, ok: bool, failures: u32, changes: &mut Vec<Change>) -> Told {
        let check = self.checks.get_mut(&id).ok_or_else(|| no_row("endpoint", id))?;
        check.probes += 1;
        check.failures = failures;
        changes.push(Change::Probe { id, ok, failures });
        Ok(Reply::Done)
    }

    pub(super) fn record_probe(&mut self, id: u32, ok: bool, slot: Timestamp, changes: &mut Vec<Change>) -> Told {
        let check = self.checks.get_mut(&id).ok_or_else(|| no_row("endpoint", id))?;
        if check.slots.contains(&slot) {
            return Ok(Reply::Refused);
        }
        check.slots.push(slot);
        let failures = check.failures + u32::from(!ok);
        self.write_check(id, ok, failures, changes)
    }
}
