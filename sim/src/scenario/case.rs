//! Owns a case as a file: one run with everything that was drawn pinned, as small as shrinking could make it.

use std::{fmt::Write as _, time::Duration};

use toml::de::DeTable;

use super::{
    duration::format_duration,
    error::{ScenarioError, Source},
    file::{LONGEST_PHASE, SECOND, read_lane, read_replicas, read_seed},
    pinned::read_plan,
    table::Table,
};
use crate::{fault::FaultPlan, world::Lane};

/// One run, pinned.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Case {
    /// The seed: delays, ids and what handlers draw still follow from it.
    pub seed: u64,
    /// The lane, with its tick if it has one.
    pub lane: Lane,
    /// How many replicas; 1 to 16.
    pub replicas: u8,
    /// For how long faults come and go. They begin before its end.
    pub chaos: Duration,
    /// Which parts of what runs are left out: `job rollup`, `service crl`, `queue push`.
    pub without: Vec<String>,
    /// What goes wrong, and nothing else.
    pub plan: FaultPlan,
}

const KEYS: &[&str] = &["seed", "lane", "tick", "replicas", "lasting", "without", "fault", "trigger"];

impl Case {
    /// Reads a case of a [`Simulation`](crate::simulation::Simulation). `name` is what errors call the text.
    ///
    /// # Errors
    /// [`ScenarioError`] says where, and what is allowed.
    pub fn parse(text: &str, name: &str) -> Result<Self, ScenarioError> {
        let source = Source { file: name, text };
        let document = DeTable::parse(text).map_err(|error| {
            source.error(error.span().unwrap_or(0..0), format!("not valid TOML: {}", error.message().trim()))
        })?;
        let table = Table::new(source, "the case", 0..0, document.get_ref(), KEYS)?;
        let seed = read_seed(&table)?.ok_or_else(|| {
            table.error("`seed` is missing in the case").help("write the seed that failed: `seed = 7`")
        })?;
        let lasting = table.need("lasting", "say for how long faults come and go: `lasting = \"10m\"`")?;
        let chaos = lasting.duration_within(SECOND, LONGEST_PHASE)?;
        let replicas = table.need("replicas", "say how many replicas run: `replicas = 3`")?;
        Ok(Self {
            seed,
            lane: read_lane(&table)?.unwrap_or_default(),
            replicas: read_replicas(&replicas)?,
            chaos,
            without: read_without(&table)?,
            plan: read_plan(&table, chaos.as_secs())?,
        })
    }

    /// As [`Case::parse`] reads it.
    pub fn to_toml(&self) -> String {
        let (seed, replicas, lasting) = (self.seed, self.replicas, format_duration(self.chaos));
        let mut text = format!("seed = {seed}\n{}replicas = {replicas}\nlasting = \"{lasting}\"\n", lane(self.lane));
        if !self.without.is_empty() {
            let without = toml::Value::from(self.without.clone());
            text.push_str(&format!("without = {without}\n"));
        }
        if self.plan.is_empty() {
            text.push_str("# It fails without any fault.\n");
        } else {
            // Writing to a String cannot fail.
            let _ = write!(text, "\n{}", self.plan.to_toml());
        }
        text
    }

    /// Without the faults that would begin after the chaos phase, or strike replicas that are not there.
    #[must_use]
    pub fn trimmed(mut self) -> Self {
        let ends_s = self.chaos.as_secs();
        self.plan.faults.retain(|fault| u64::from(fault.at_s) < ends_s);
        for fault in &mut self.plan.faults {
            fault.replica %= self.replicas.max(1);
        }
        self
    }
}

fn read_without(table: &Table<'_, '_>) -> Result<Vec<String>, ScenarioError> {
    let Some(value) = table.get("without") else { return Ok(Vec::new()) };
    let parts = value.list("parts, such as `job rollup`")?;
    parts.iter().map(|part| part.text().map(str::to_owned)).collect()
}

/// The lane as files write it, with its tick in whole milliseconds.
pub(super) fn lane(lane: Lane) -> String {
    let tick = lane.tick().map_or_else(String::new, |tick| format!("tick = \"{}\"\n", format_duration(tick)));
    format!("lane = \"{}\"\n{tick}", lane.name())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{Bad, Fault};

    fn case() -> Case {
        let fault = Fault { at_s: 60, lasts_s: 20, replica: 1, bad: Bad::PowerLoss };
        Case {
            seed: 7,
            lane: Lane::Turmoil { tick: Some(Duration::from_millis(20)) },
            replicas: 2,
            chaos: Duration::from_secs(240),
            without: Vec::new(),
            plan: FaultPlan { faults: vec![fault], triggers: Vec::new() },
        }
    }

    #[test]
    fn a_case_reads_back() {
        assert_eq!(Case::parse(&case().to_toml(), "case").expect("readable"), case());
        let smaller = Case { without: ["job rollup", "queue push"].map(str::to_owned).into(), ..case() };
        assert_eq!(Case::parse(&smaller.to_toml(), "case").expect("readable"), smaller);
        let quiet = Case { plan: FaultPlan::default(), lane: Lane::Event, ..case() };
        assert_eq!(Case::parse(&quiet.to_toml(), "case").expect("readable"), quiet);
    }

    #[test]
    fn a_case_that_cannot_be_used_says_what_to_write() {
        let told = |text: &str| Case::parse(text, "digest.toml").expect_err("refused").to_string();
        assert!(told("replicas = 3\nlasting = \"1m\"").contains("`seed = 7`"));
        assert!(told("seed = 1\nreplicas = 3").contains("`lasting = \"10m\"`"));
        assert!(told("seed = 1\nreplica = 3\nlasting = \"1m\"").contains("replicas"));
    }

    #[test]
    fn trimming_leaves_no_fault_that_could_not_strike() {
        let short = Case { chaos: Duration::from_secs(60), ..case() };
        assert!(short.trimmed().plan.is_empty());
        let alone = Case { replicas: 1, ..case() };
        assert_eq!(alone.trimmed().plan.faults[0].replica, 0);
    }
}
