//! Owns the scenario file as a whole: its top level, its defaults, and regression files, which name another
//! scenario and pin what differs.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};

use toml::de::DeTable;
use tourbillon::{driver::Settings, model::Timestamp};

use super::{
    error::{ScenarioError, Source},
    job::{JOB_KEYS, read_job},
    pinned::{read_kind, read_plan},
    queue::{QUEUE_KEYS, read_queue},
    service::{SERVICE_KEYS, read_service, read_ttl},
    shape::{FaultMix, JobShape, Orders, Phases, QueueShape, Scenario, ServiceShape},
    table::{Table, Value, suggestion},
};
use crate::{
    fault::FaultKind,
    history::Boot,
    operator::{self, Variant},
    world::Lane,
};

const KEYS: &[&str] = &[
    "about",
    "replicas",
    "receivers",
    "epoch",
    "boot",
    "settle_within",
    "phases",
    "driver",
    "faults",
    "job",
    "service",
    "leadership",
    "queue",
    "fault",
    "trigger",
    "seed",
    "orders",
    "lane",
    "tick",
];

/// Keys of a file that runs the certificate operator: its jobs, receivers and settings are its own.
const OPERATOR_KEYS: &[&str] = &[
    "about",
    "variant",
    "replicas",
    "settle_within",
    "phases",
    "faults",
    "fault",
    "trigger",
    "seed",
    "orders",
    "lane",
    "tick",
];

/// Keys of a file that names another scenario.
const REGRESSION_KEYS: &[&str] = &[
    "scenario", "about", "seed", "lane", "tick", "replicas", "chaos", "jobs", "services", "queues", "plan", "fault",
    "trigger",
];

const DRIVER_KEYS: &[&str] =
    &["poll_interval", "plan_interval", "rescue_interval", "prune_interval", "call_timeout", "max_concurrency"];

pub(super) const SECOND: Duration = Duration::from_secs(1);

/// A simulated year of one seed is more than anybody waits for.
pub(super) const LONGEST_PHASE: Duration = Duration::from_secs(366 * 86_400);

impl Scenario {
    /// Reads a scenario or regression file.
    ///
    /// # Errors
    /// [`ScenarioError`] when the file cannot be read, is not TOML, or breaks a rule; it says where and what is
    /// allowed.
    pub fn load(path: &Path) -> Result<Self, ScenarioError> {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|error| ScenarioError::whole(&file, format!("cannot read the scenario: {error}")))?;
        Self::parse(&text, &file)
    }

    /// Reads the text of a scenario or regression file. `file_name` is what errors call it; its stem is the
    /// scenario's name, and a scenario that the text names is read relative to its folder.
    ///
    /// # Errors
    /// As [`Scenario::load`].
    pub fn parse(text: &str, file_name: &str) -> Result<Self, ScenarioError> {
        let source = Source { file: file_name, text };
        let document = DeTable::parse(text).map_err(|error| {
            source.error(error.span().unwrap_or(0..0), format!("not valid TOML: {}", error.message().trim()))
        })?;
        let has = |key: &str| document.get_ref().contains_key(key);
        let allowed = match (has("scenario"), has("variant")) {
            (true, _) => REGRESSION_KEYS,
            (false, true) => OPERATOR_KEYS,
            (false, false) => KEYS,
        };
        // The head of a document is its first line, not all of it.
        let table = Table::new(source, "the scenario", 0..0, document.get_ref(), allowed)?;
        let name = Path::new(file_name).file_stem().map_or_else(|| file_name.into(), |stem| stem.to_string_lossy());
        match table.get("scenario") {
            Some(base) => read_regression(&name, file_name, &table, &base),
            None => read_scenario(&name, &table),
        }
    }
}

fn read_scenario(name: &str, table: &Table<'_, '_>) -> Result<Scenario, ScenarioError> {
    let settle = table.need(
        "settle_within",
        "say how soon after heal everything due has ended: `settle_within = \"5m\"` (scenarios/README.md derives it)",
    )?;
    let settle_within = settle.duration_within(SECOND, LONGEST_PHASE)?;
    let phases = read_phases(table, settle_within)?;
    let operator = table.or("variant", None, read_variant)?;
    let driver = match operator {
        Some(variant) => operator::settings(variant),
        None => read_driver(table)?,
    };
    let scenario = Scenario {
        name: name.to_owned(),
        about: table.or("about", "", Value::text)?.to_owned(),
        replicas: table.or("replicas", 3, read_replicas)?,
        receivers: table.or("receivers", 1, |value| value.integer(0, 8))?,
        epoch: table.or("epoch", default_epoch(), read_epoch)?,
        phases,
        settle_within,
        poll_interval: driver.poll_interval,
        plan_interval: driver.plan_interval,
        rescue_interval: driver.rescue_interval,
        prune_interval: driver.prune_interval,
        call_timeout: driver.call_timeout,
        max_concurrency: driver.max_concurrency,
        jobs: read_jobs(table)?,
        services: read_services(table)?,
        leader_ttl: table.or("leadership", Duration::from_secs(30), |value| {
            let like = "a table such as `{ ttl = \"15s\" }`";
            value.table("`leadership`", like, &["ttl"])?.or("ttl", Duration::from_secs(30), read_ttl)
        })?,
        queues: read_queues(table)?,
        operator,
        boot: table.or("boot", Boot::Ready, read_boot)?,
        faults: read_mix(table)?,
        pinned: read_plan(table, phases.chaos.as_secs())?,
        seed: read_seed(table)?,
        orders: read_orders(table)?,
        lane: read_lane(table)?.unwrap_or_default(),
        based_on: None,
    };
    let does_nothing = scenario.jobs.is_empty() && scenario.services.is_empty() && scenario.queues.is_empty();
    if does_nothing && scenario.operator.is_none() {
        let example = "add at least one:\n\n[[job]]\nname = \"rollup\"\nevery = \"5m\"";
        return Err(table.error("a scenario without jobs and services does nothing").help(example));
    }
    let jobs = scenario.jobs.iter().map(|job| ("job", &job.name, job.work.effects));
    let services = scenario.services.iter().map(|service| ("service", &service.name, service.work.effects));
    let sends = jobs.chain(services).find(|(_, _, effects)| *effects > 0);
    if let (0, Some((kind, name, _))) = (scenario.receivers, sends) {
        let error = table.error_at("receivers", format!("{kind} `{name}` sends effects, but there is no receiver"));
        return Err(error.help("set `receivers` to 1 or more, or `effects = 0` in the work of every job and service"));
    }
    if scenario.least_chaos() > phases.chaos {
        let late = |job: &&JobShape| {
            Scenario { jobs: vec![JobShape::clone(job)], ..scenario.clone() }.least_chaos() > phases.chaos
        };
        let job = scenario.jobs.iter().find(late).map_or("", |job| &job.name);
        let message = format!("job `{job}`: a schedule comes or goes after the chaos phase");
        return Err(table
            .error_at("job", message)
            .help("lower `from` and `until`: checkers judge by what holds then"));
    }
    Ok(scenario)
}

/// 2026-01-05T00:00:00Z: a Monday, so that every cadence that divides a week has a slot there.
fn default_epoch() -> Timestamp {
    Timestamp::from_secs(1_767_571_200)
}

fn read_epoch(value: &Value<'_, '_>) -> Result<Timestamp, ScenarioError> {
    let text = value.text()?;
    text.parse().map_err(|error| {
        let help = "write an instant in UTC in quotes, such as \"2026-01-05T00:00:00Z\"";
        value.error(format!("`epoch` is not an instant: {error}")).help(help)
    })
}

fn read_variant(value: &Value<'_, '_>) -> Result<Option<Variant>, ScenarioError> {
    let names = [Variant::Naive, Variant::Hardened].map(|variant| (variant.name(), variant));
    value.one_of("variant", &names).map(Some)
}

fn read_boot(value: &Value<'_, '_>) -> Result<Boot, ScenarioError> {
    value.one_of("boot", &[("ready", Boot::Ready), ("migrate", Boot::Migrate)])
}

pub(super) fn read_replicas(value: &Value<'_, '_>) -> Result<u8, ScenarioError> {
    value.integer(1, 16)
}

pub(super) fn read_seed(table: &Table<'_, '_>) -> Result<Option<u64>, ScenarioError> {
    table.or("seed", None, |value| value.integer(0, u64::MAX).map(Some))
}

/// A tick alone says which lane is meant: only one has ticks.
pub(super) fn read_lane(table: &Table<'_, '_>) -> Result<Option<Lane>, ScenarioError> {
    let within = |value: &Value<'_, '_>| value.duration_within(Duration::from_millis(1), SECOND).map(Some);
    let tick = table.or("tick", None, within)?;
    let names = [("event", Lane::Event), ("turmoil", Lane::Turmoil { tick })];
    let lane = table.or("lane", None, |value| value.one_of("lane", &names).map(Some))?;
    match (lane, tick) {
        (Some(Lane::Event), Some(_)) => {
            let error = table.error_at("tick", "the event lane has no ticks");
            Err(error.help("leave `tick` out, or write `lane = \"turmoil\"`"))
        }
        (None, Some(_)) => Ok(Some(Lane::Turmoil { tick })),
        (lane, _) => Ok(lane),
    }
}

fn read_phases(table: &Table<'_, '_>, settle_within: Duration) -> Result<Phases, ScenarioError> {
    let like = "phases = { chaos = \"20m\", partial_heal = \"8m\", heal = \"8m\" }";
    let given = table.need("phases", like)?;
    let phases = given.table("`phases`", "a table of durations", &["chaos", "partial_heal", "heal"])?;
    // Long enough to demand the bound, and once more for what becomes due meanwhile.
    let default = 2 * settle_within;
    let within = |value: &Value<'_, '_>| value.duration_within(SECOND, LONGEST_PHASE);
    let leaves_out = |value: &Value<'_, '_>| match value.duration()? {
        Duration::ZERO => Ok(Duration::ZERO),
        _ => within(value),
    };
    let read = Phases {
        chaos: within(&phases.need("chaos", "say how long faults come and go: `chaos = \"20m\"`")?)?,
        partial_heal: phases.or("partial_heal", default, leaves_out)?,
        heal: phases.or("heal", default, within)?,
    };
    for (key, phase) in [("partial_heal", read.partial_heal), ("heal", read.heal)] {
        if phase <= settle_within && !phase.is_zero() {
            let message = format!("`{key}` is not longer than `settle_within`: the bound could never be demanded");
            return Err(phases.error_at(key, message).help("twice `settle_within` is usual, and the default"));
        }
    }
    Ok(read)
}

fn read_driver(table: &Table<'_, '_>) -> Result<Settings, ScenarioError> {
    let default = Settings::default();
    let Some(value) = table.get("driver") else { return Ok(default) };
    let driver = value.table("`driver`", "a table of driver settings", DRIVER_KEYS)?;
    let settings = Settings {
        poll_interval: driver.or("poll_interval", default.poll_interval, Value::duration)?,
        plan_interval: driver.or("plan_interval", default.plan_interval, Value::duration)?,
        rescue_interval: driver.or("rescue_interval", default.rescue_interval, Value::duration)?,
        prune_interval: driver.or("prune_interval", default.prune_interval, Value::duration)?,
        call_timeout: driver.or("call_timeout", default.call_timeout, Value::duration)?,
        max_concurrency: driver.or("max_concurrency", default.max_concurrency, |value| value.integer(0, 100_000))?,
        ..default
    };
    settings.check().map_err(|error| driver.error_at(error.name, error.to_string()))?;
    Ok(settings)
}

fn read_mix(table: &Table<'_, '_>) -> Result<FaultMix, ScenarioError> {
    let default = FaultMix { kinds: FaultKind::ALL.to_vec(), max_faults: 12, max_triggers: 4 };
    let Some(value) = table.get("faults") else { return Ok(default) };
    let faults = value.table("`faults`", "a table", &["kinds", "max_faults", "max_triggers"])?;
    Ok(FaultMix {
        kinds: faults.or("kinds", default.kinds, read_kinds)?,
        max_faults: faults.or("max_faults", default.max_faults, |value| value.integer(0, 1_000))?,
        max_triggers: faults.or("max_triggers", default.max_triggers, |value| value.integer(0, 1_000))?,
    })
}

fn read_orders(table: &Table<'_, '_>) -> Result<Option<Orders>, ScenarioError> {
    let Some(value) = table.get("orders") else { return Ok(None) };
    let orders =
        value.table("`orders`", "a table such as `{ percent = 20, most = \"20ms\" }`", &["percent", "most"])?;
    Ok(Some(Orders {
        // What is put behind for ever never runs.
        percent: orders.or("percent", Orders::USUAL.percent, |value| value.integer(1, 90))?,
        most: orders
            .or("most", Orders::USUAL.most, |value| value.duration_within(Duration::from_millis(1), SECOND))?,
    }))
}

/// In the order of [`FaultKind::ALL`] and each once, so that the order in a file does not change what is drawn.
fn read_kinds(value: &Value<'_, '_>) -> Result<Vec<FaultKind>, ScenarioError> {
    if value.is_text() {
        let read = value.one_of("choice", &[("all", ())]);
        return match read {
            Ok(()) => Ok(FaultKind::ALL.to_vec()),
            Err(error) => Err(error.help("write \"all\" or a list of kinds, such as [\"pause\", \"crash\"]")),
        };
    }
    let kinds = value.list("fault kinds")?.iter().map(read_kind).collect::<Result<BTreeSet<_>, _>>()?;
    Ok(kinds.into_iter().collect())
}

fn read_jobs(table: &Table<'_, '_>) -> Result<Vec<JobShape>, ScenarioError> {
    let tables = table.get("job").map_or(Ok(Vec::new()), |jobs| jobs.list("`[[job]]` tables"))?;
    let mut jobs: Vec<JobShape> = Vec::new();
    for value in tables {
        let job = value.table("[[job]]", "a table, headed by `[[job]]`", JOB_KEYS)?;
        let named = job.get("name");
        let job = read_job(job)?;
        if jobs.iter().any(|other| other.name == job.name) {
            let message = format!("job `{}`: defined twice: give each job a name of its own", job.name);
            return Err(named.as_ref().map_or_else(|| value.error(&*message), |name| name.error(&*message)));
        }
        jobs.push(job);
    }
    Ok(jobs)
}

fn read_services(table: &Table<'_, '_>) -> Result<Vec<ServiceShape>, ScenarioError> {
    let tables = table.get("service").map_or(Ok(Vec::new()), |services| services.list("`[[service]]` tables"))?;
    let mut services: Vec<ServiceShape> = Vec::new();
    for value in tables {
        let service = value.table("[[service]]", "a table, headed by `[[service]]`", SERVICE_KEYS)?;
        let named = service.get("name");
        let service = read_service(service)?;
        if services.iter().any(|other| other.name == service.name) {
            let message = format!("service `{}`: defined twice: give each service a name of its own", service.name);
            return Err(named.as_ref().map_or_else(|| value.error(&*message), |name| name.error(&*message)));
        }
        services.push(service);
    }
    Ok(services)
}

fn read_queues(table: &Table<'_, '_>) -> Result<Vec<QueueShape>, ScenarioError> {
    let Some(value) = table.get("queue") else { return Ok(Vec::new()) };
    let mut queues: Vec<QueueShape> = Vec::new();
    for value in value.list("`[[queue]]` tables")? {
        let queue = read_queue(value.table("[[queue]]", "a table, headed by `[[queue]]`", QUEUE_KEYS)?)?;
        if queues.iter().any(|other| other.name == queue.name) {
            let message = format!("queue `{}`: defined twice: give each queue a name of its own", queue.name);
            return Err(value.error(message));
        }
        queues.push(queue);
    }
    Ok(queues)
}

/// A regression draws nothing unless told to: its plan is what it lists, so that a plan that was shrunk stays so.
fn read_regression(
    name: &str,
    file_name: &str,
    table: &Table<'_, '_>,
    base: &Value<'_, '_>,
) -> Result<Scenario, ScenarioError> {
    let (mut scenario, path) = read_base(file_name, base)?;
    scenario.based_on = Some(path);
    scenario.name = name.to_owned();
    scenario.about = table.or("about", &*scenario.about, Value::text)?.to_owned();
    scenario.replicas = table.or("replicas", scenario.replicas, read_replicas)?;
    scenario.seed = read_seed(table)?.or(scenario.seed);
    scenario.lane = read_lane(table)?.unwrap_or(scenario.lane);
    read_parts(table, &mut scenario)?;
    let within = |value: &Value<'_, '_>| value.duration_within(SECOND.max(scenario.least_chaos()), LONGEST_PHASE);
    scenario.phases.chaos = table.or("chaos", scenario.phases.chaos, within)?;
    let listed = read_plan(table, scenario.phases.chaos.as_secs())?;
    let drawn = table.or("plan", false, |value| value.one_of("plan", &[("listed", false), ("drawn", true)]))?;
    if drawn {
        scenario.pinned = scenario.pinned.and(&listed);
    } else {
        scenario.pinned = listed;
        scenario.faults = FaultMix { kinds: Vec::new(), max_faults: 0, max_triggers: 0 };
    }
    Ok(scenario)
}

/// The scenario, and where it was read from.
fn read_base(file_name: &str, base: &Value<'_, '_>) -> Result<(Scenario, String), ScenarioError> {
    let path = base_path(file_name, base.text()?);
    let text = std::fs::read_to_string(&path).map_err(|error| {
        let help = "the path is relative to the folder of this file; `.toml` may be left out";
        base.error(format!("cannot read the scenario {}: {error}", path.display())).help(help)
    })?;
    // Errors inside it name it and its lines; one more level would hide where a value comes from.
    if DeTable::parse(&text).is_ok_and(|document| document.get_ref().contains_key("scenario")) {
        let message = format!("{} names a scenario itself", path.display());
        return Err(base.error(message).help("name the scenario that it is based on"));
    }
    let path = path.display().to_string();
    Ok((Scenario::parse(&text, &path)?, path))
}

fn base_path(file_name: &str, base: &str) -> PathBuf {
    let mut path = Path::new(file_name).parent().unwrap_or(Path::new("")).join(base);
    if path.extension().is_none() {
        path.set_extension("toml");
    }
    path
}

/// Which jobs, services and queues are left; none but at least one of all.
fn read_parts(table: &Table<'_, '_>, scenario: &mut Scenario) -> Result<(), ScenarioError> {
    if let Some(jobs) = table.get("jobs") {
        scenario.jobs = read_subset(&jobs, ("job", &scenario.jobs), |job| &job.name)?;
    }
    if let Some(services) = table.get("services") {
        scenario.services = read_subset(&services, ("service", &scenario.services), |service| &service.name)?;
    }
    if let Some(queues) = table.get("queues") {
        scenario.queues = read_subset(&queues, ("queue", &scenario.queues), |queue| &queue.name)?;
    }
    if scenario.operator.is_none() && scenario.parts().is_empty() {
        let key =
            ["jobs", "services", "queues"].into_iter().find(|key| table.get(key).is_some()).unwrap_or("scenario");
        let error = table.error_at(key, "a scenario without jobs, services and queues does nothing");
        return Err(error.help("leave `jobs` out to keep all"));
    }
    Ok(())
}

fn read_subset<T: Clone>(
    value: &Value<'_, '_>,
    (kind, all): (&str, &[T]),
    named: fn(&T) -> &str,
) -> Result<Vec<T>, ScenarioError> {
    let mut wanted = BTreeSet::new();
    for name in value.list(&format!("{kind} names"))? {
        let text = name.text()?;
        if !all.iter().any(|one| named(one) == text) {
            let error = name.error(format!("the scenario has no {kind} `{text}`"));
            return Err(error.help(suggestion(text, all.iter().map(named))));
        }
        wanted.insert(text);
    }
    Ok(all.iter().filter(|one| wanted.contains(named(one))).cloned().collect())
}
