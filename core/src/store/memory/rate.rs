//! What rates need of the in-memory store.

use super::Tables;
use crate::{
    model::{Execution, Gate, JobName, Rate, Timestamp, Turns},
    store::{RateRows, StoreError},
};

impl RateRows for Tables {
    fn gate(&mut self, key: &str) -> Result<Option<Gate>, StoreError> {
        Ok(self.gates.get(key).cloned())
    }

    fn put_gate(&mut self, gate: &Gate) -> Result<(), StoreError> {
        self.gates.insert(gate.key.clone(), gate.clone());
        Ok(())
    }

    fn shut_gates(&mut self, queue: &JobName, now: Timestamp) -> Result<Vec<Gate>, StoreError> {
        let shut = self.gates.values().filter(|gate| gate.queue == *queue && gate.opens_at > now);
        let mut shut: Vec<_> = shut.cloned().collect();
        shut.sort_by(|a, b| (a.opens_at, &a.key).cmp(&(b.opens_at, &b.key)));
        Ok(shut)
    }

    fn turns(&mut self, queue: &JobName, now: Timestamp) -> Result<Option<Turns>, StoreError> {
        let of_queue = || self.gates.values().filter(|gate| gate.queue == *queue);
        let rated = of_queue().filter(|gate| gate.turn_us > 0);
        let Some(last) = rated.max_by_key(|gate| (gate.opens_at, &gate.key)) else { return Ok(None) };
        let shut = || of_queue().map(|gate| gate.opens_at).filter(|at| *at > now);
        let (turn_us, burst) = (last.turn_us, last.burst);
        Ok(Some(Turns { turn_us, burst, shut: shut().count() as u64, next_at: shut().min() }))
    }

    fn withdrawn_gates(&mut self, now: Timestamp) -> Result<Vec<Gate>, StoreError> {
        Ok(self.gates.values().filter(|gate| gate.charged_at > now).cloned().collect())
    }
}

impl Tables {
    /// By its rate.
    pub(super) fn has_no_turn(&self, row: &Execution, rate: Option<&Rate>, now: Timestamp) -> bool {
        match (rate, &row.policy.limit) {
            (Some(rate), Some(limit)) => !rate.is_open(self.gates.get(&limit.key), now),
            _ => false,
        }
    }
}
