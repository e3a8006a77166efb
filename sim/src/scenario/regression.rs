//! Owns what a regression file is made of: which parts of a scenario can be left out, a scenario that is as small as a
//! case says, and the text of the file.

use std::time::Duration;

use super::{
    case::{Case, lane},
    duration::format_duration,
    shape::{Phases, Scenario, ScheduleShape},
};

const JOB: &str = "job";
const SERVICE: &str = "service";
const QUEUE: &str = "queue";

impl Scenario {
    /// What a smaller scenario may do without, jobs first, each in the order of the file: `job rollup`, `service crl`,
    /// `queue push`. Empty where the certificate operator runs.
    pub fn parts(&self) -> Vec<String> {
        let jobs = self.jobs.iter().map(|job| part(JOB, &job.name));
        let services = self.services.iter().map(|service| part(SERVICE, &service.name));
        let queues = self.queues.iter().map(|queue| part(QUEUE, &queue.name));
        jobs.chain(services).chain(queues).collect()
    }

    /// The shortest chaos phase: schedules that come and go do so within it, since checkers judge by what holds then.
    pub fn least_chaos(&self) -> Duration {
        let edits = self.jobs.iter().flat_map(|job| &job.schedules);
        edits.map(|own: &ScheduleShape| own.until.unwrap_or(own.from).max(own.from)).max().unwrap_or_default()
    }

    /// With the replicas and the time of a case, and without the parts that it does without.
    #[must_use]
    pub fn reduced(&self, case: &Case) -> Self {
        let has = |kind: &str, name: &str| !case.without.contains(&part(kind, name));
        let mut reduced = self.clone();
        reduced.replicas = case.replicas;
        reduced.phases = Phases { chaos: case.chaos, ..self.phases };
        reduced.jobs.retain(|job| has(JOB, &job.name));
        reduced.services.retain(|service| has(SERVICE, &service.name));
        reduced.queues.retain(|queue| has(QUEUE, &queue.name));
        reduced
    }
}

fn part(kind: &str, name: &str) -> String {
    format!("{kind} {name}")
}

/// A regression file: a case of a scenario. `scenario_path` is written as given and is read relative to the folder of the
/// regression file. What is as in the scenario is not written. A tick is kept in whole milliseconds.
pub fn regression_file(scenario_path: &str, scenario: &Scenario, case: &Case) -> String {
    let path = toml::Value::from(scenario_path);
    let mut text = format!("scenario = {path}\nseed = {}\n{}", case.seed, lane(case.lane));
    // What a regression changed is not in the scenario that it names.
    let is_changed = scenario.based_on.is_some();
    if is_changed || case.replicas != scenario.replicas {
        text.push_str(&format!("replicas = {}\n", case.replicas));
    }
    if is_changed || case.chaos != scenario.phases.chaos {
        text.push_str(&format!("chaos = \"{}\"\n", format_duration(case.chaos)));
    }
    let (jobs, services, queues) = (&scenario.jobs, &scenario.services, &scenario.queues);
    let kinds: [(&str, &str, Vec<&str>); 3] = [
        ("jobs", JOB, jobs.iter().map(|job| job.name.as_str()).collect()),
        ("services", SERVICE, services.iter().map(|service| service.name.as_str()).collect()),
        ("queues", QUEUE, queues.iter().map(|queue| queue.name.as_str()).collect()),
    ];
    for (key, kind, names) in kinds {
        let left: Vec<_> = names.iter().filter(|name| !case.without.contains(&part(kind, name))).copied().collect();
        if left.len() < names.len() || (is_changed && scenario.operator.is_none()) {
            text.push_str(&format!("{key} = {}\n", toml::Value::from(left)));
        }
    }
    if case.plan.is_empty() {
        text.push_str("# It fails without any fault.\n");
    } else {
        text.push('\n');
        text.push_str(&case.plan.to_toml());
    }
    text
}
