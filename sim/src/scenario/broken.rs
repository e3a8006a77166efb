//! What a broken scenario file is answered, and that written plans read back.

use std::{path::Path, time::Duration};

use proptest::prelude::*;
use tourbillon::plan::CatchUp;

use super::*;
use crate::{
    fault::{FaultPlan, draw},
    world::Lane,
};

const VALID: &str = r#"settle_within = "4m"
phases = { chaos = "20m" }

[[job]]
name = "rollup"
every = "5m"
"#;

fn scenarios() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios")
}

/// The valid file with one text exchanged, and the whole message that follows.
fn refused(from: &str, to: &str) -> String {
    assert!(VALID.contains(from), "{from}");
    Scenario::parse(&VALID.replacen(from, to, 1), "s.toml").expect_err("broken").to_string()
}

/// As `refused`, of something after the job's last line.
fn refused_with(line: &str) -> String {
    Scenario::parse(&format!("{VALID}{line}\n"), "s.toml").expect_err("broken").to_string()
}

fn first_line(message: &str) -> &str {
    message.lines().next().unwrap_or_default()
}

#[test]
fn defaults_are_those_of_core_and_twice_the_bound() {
    let scenario = Scenario::parse(VALID, "dir/small.toml").expect("valid");
    assert_eq!((scenario.name.as_str(), scenario.replicas, scenario.receivers), ("small", 3, 1));
    assert_eq!(scenario.epoch.to_string(), "2026-01-05T00:00:00Z");
    assert_eq!((scenario.phases.heal, scenario.call_timeout), (Duration::from_secs(480), Duration::from_secs(5)));
    let job = &scenario.jobs[0];
    assert_eq!((job.lease, job.heartbeat), (Duration::from_secs(90), Duration::from_secs(18)));
    assert_eq!((job.catch_up, job.overlap_max, job.max_attempts), (CatchUp::LatestOnly, Some(1), 3));
}

#[test]
fn an_unknown_key_is_shown_with_its_line_and_the_nearest_one() {
    assert_eq!(
        refused("every = \"5m\"", "evry = \"5m\""),
        "unknown key `evry` in [[job]]\n --> s.toml:6:1\n  |\n6 | evry = \"5m\"\n  | ^^^^\n  = did you mean `every`? allowed are \
         `name`, `every`, `v2`, `anchor`, `cron`, `zone`, `gap`, `fold`, `delay`, `catch_up`, `max_lateness`, `run_timeout`, `lease`, `heartbeat`, `reentry`, \
         `max_attempts`, `backoff`, `overlap`, `audit`, `scopes`, `schedules`, `source`, `work`"
    );
}

#[test]
fn a_bad_duration_says_how_durations_are_written() {
    assert_eq!(
        refused("every = \"5m\"", "every = \"5 min\""),
        "`every` is not a duration: `5 min`\n --> s.toml:6:9\n  |\n6 | every = \"5 min\"\n  |         ^^^^^^^\n  = a duration is \
         a number and a unit (d, h, m, s, ms), largest first, such as \"90s\", \"500ms\" or \"1h30m\""
    );
}

#[test]
fn what_is_not_toml_is_shown_where_it_stops_being_so() {
    let message = refused("every = \"5m\"", "every = 5m");
    assert!(message.starts_with("not valid TOML: ") && message.contains("--> s.toml:6:"), "{message}");
    let twice = refused_with("every = \"6m\"");
    assert!(twice.contains("duplicate key") && twice.contains("--> s.toml:7:1"), "{twice}");
}

#[test]
fn every_broken_rule_is_named_at_its_place() {
    for (line, position, expected) in [
        ("every = 5", (6, 9), "`every` must be a duration in quotes, found an integer"),
        ("every = \"0s\"", (6, 9), "job `rollup`: the cadence is below 1 µs: give `every` a longer duration"),
        ("", (4, 1), "`every` or `cron` is missing in job `rollup`"),
        (
            "cron = \"0 25 * * *\"",
            (6, 8),
            "job `rollup`: the hour field is `25`: allowed are 0 to 23, with `*`, lists (1,2), ranges (1-5) and steps (*/5, 10-30/5)",
        ),
        (
            "cron = \"@daily\"\nzone = \"Europe/Berln\"",
            (7, 8),
            "job `rollup`: unknown time zone `Europe/Berln`: did you mean `Europe/Berlin`? Names are those of the IANA database",
        ),
        (
            "schedules = [{ scope = \"t/a\", every = \"5m\", from = \"21m\" }]",
            (4, 1),
            "job `rollup`: a schedule comes or goes after the chaos phase",
        ),
        ("cron = \"@daily\"\ngap = \"run\"", (7, 7), "unknown gap `run`"),
        ("every = \"5m\"\nfold = \"first\"", (7, 8), "job `rollup`: `fold` without `cron`"),
        ("every = \"5m\"\ncron = \"@daily\"", (7, 8), "job `rollup`: `every` and `cron`"),
        ("cron = \"@daily\"\nanchor = \"2026-01-05T00:00:00Z\"", (7, 10), "job `rollup`: `anchor` without `every`"),
        (
            "every = \"5m\"\nanchor = \"monday\"",
            (7, 10),
            "`anchor` is not an instant: failed to parse four digit integer as year: invalid digit, expected 0-9 but got m",
        ),
    ] {
        let error = Scenario::parse(&VALID.replacen("every = \"5m\"", line, 1), "s.toml").expect_err(line);
        assert_eq!((error.message(), error.position(), error.file()), (expected, Some(position), "s.toml"));
    }
    for (line, expected) in [
        (
            "lease = \"1m\"",
            "job `rollup`: the lease (60s) is not longer than the run timeout (60s): raise `lease` or lower `run_timeout`",
        ),
        (
            "run_timeout = \"0s\"",
            "job `rollup`: the run timeout is zero: give `run_timeout` how long an attempt may run",
        ),
        (
            "heartbeat = \"2m\"",
            "job `rollup`: the heartbeat interval (120s) is not shorter than the lease (90s): a third of it or less is usual",
        ),
        ("max_attempts = 0", "job `rollup`: max attempts is 0: the first attempt counts, so 1 means no retry"),
        ("max_attempts = -1", "`max_attempts` is -1, allowed are 0 to 1000"),
        ("reentry = \"never\"", "unknown re-entry `never`"),
        ("catch_up = \"latest\"", "unknown catch-up `latest`"),
        ("catch_up = { every_slot = { window = \"1h\" } }", "`max_slots` is missing in `every_slot`"),
        (
            "catch_up = { every_slot = { window = \"1h\", max_slots = 0 } }",
            "job `rollup`: every-slot catch-up without a cap: set `max_slots` to 1 or more",
        ),
        (
            "backoff = { table = [] }",
            "job `rollup`: the backoff table is empty: list at least one wait, or use max_attempts(1) for no retry",
        ),
        ("backoff = { table = [\"1m\", 5] }", "each entry of `table` must be a duration in quotes, found an integer"),
        ("backoff = { linear = \"1m\", constant = \"1m\" }", "`backoff` names two curves"),
        (
            "backoff = \"10s\"",
            "`backoff` must be `{ exponential = \"10s\" }`, `{ linear = \"10s\" }`, `{ constant = \"10s\" }` or `{ table = [\"1m\", \"5m\"] }`, found a string",
        ),
        (
            "overlap = 0",
            "job `rollup`: the overlap limit is 0: nothing could run; use `Overlap::Forbid` for one at a time",
        ),
        ("scopes = [\"a\"]", "`a` is not a scope"),
        (
            "schedules = [{ scope = \"t/a\", cron = \"@daily\" }]",
            "job `rollup`: a schedule of the job beside those of its scopes: take out `schedules_from`, or `every`, `cron` or `schedule`",
        ),
        ("schedules = []", "`schedules` is empty"),
        ("source = \"database\"", "job `rollup`: `source` without `schedules`"),
        ("source = \"file\"", "unknown source of schedules `file`"),
        ("schedules = [{ scope = \"t/a\" }]", "a scope without `every` or `cron`"),
        (
            "schedules = [{ scope = \"t/a\", every = \"5m\" }, { scope = \"t/a\", every = \"6m\" }]",
            "the scope `t/a` has two schedules at a time",
        ),
        ("scopes = []", "job `rollup`: no scope: give `scopes` at least one, or leave it out for `global/global`"),
        ("scopes = [\"t/a\", \"t/a\"]", "job `rollup`: the scope `t/a` is listed twice"),
        (
            "work = { takes = \"2m\" }",
            "job `rollup`: the work takes up to 120s, which is not less than the run timeout (60s): raise `run_timeout`, or use `hangs_percent` for attempts that run into it",
        ),
        ("work = { takes = [\"2s\", \"1s\"] }", "`takes` lists the longest before the shortest"),
        (
            "work = { fails_percent = 60, hangs_percent = 60 }",
            "an attempt ends in one way only, but the parts that fail, panic, snooze and hang add up to 120 %",
        ),
        ("work = { fails = 60 }", "unknown key `fails` in `work`"),
        (
            "[[job]]\nname = \"rollup\"\nevery = \"1m\"",
            "job `rollup`: defined twice: give each job a name of its own",
        ),
        (
            "[[queue]]\nname = \"push\"\nretain = \"nothing\"\nenqueues = \"by_callers\"",
            "queue `push`: callers know their items by ids, which a queue that forgets does not take: retain everything, or enqueue in batches",
        ),
        ("[driver]\npoll_interval = \"1ms\"", "setting `poll_interval` is 1ms, allowed are 10ms to 3600s"),
        ("[faults]\nkinds = [\"puase\"]", "unknown fault kind `puase`"),
        ("[faults]\nkinds = \"some\"", "unknown choice `some`"),
        ("[[fault]]\nkind = \"pause\"\nat_s = 1200", "`at_s` is 1200, but the chaos phase ends after 1200 s"),
        (
            "[[fault]]\nkind = \"clock_jump\"\nat_s = 1\nlasts_s = 2",
            "unknown key `lasts_s` in [[fault]] of kind `clock_jump`",
        ),
        ("[[fault]]\nkind = \"clock_jump\"\nat_s = 1", "`by_ms` is missing in [[fault]] of kind `clock_jump`"),
        ("[[trigger]]\nafter = \"effect\"\nthen = \"crash\"", "unknown event `effect`"),
        (
            "[[trigger]]\nafter = \"handler_started\"\nthen = \"lose_reply\"",
            "no reply follows the start of a handler",
        ),
    ] {
        assert_eq!(first_line(&refused_with(line)), expected);
    }
    for (line, expected) in [
        ("replicas = 0", "`replicas` is 0, allowed are 1 to 16"),
        ("replicas = \"three\"", "`replicas` must be a whole number from 1 to 16, found a string"),
        ("receivers = 0", "job `rollup` sends effects, but there is no receiver"),
        ("lane = \"event\"\ntick = \"20ms\"", "the event lane has no ticks"),
        ("lane = \"wire\"", "unknown lane `wire`"),
        ("tick = \"2s\"", "`tick` is out of range: 1ms to 1s are allowed"),
        ("seed = 18446744073709551616", "`seed` is 18446744073709551616, allowed are 0 to 18446744073709551615"),
        ("job = 3", "duplicate key"),
    ] {
        let message = refused("settle", &format!("{line}\nsettle"));
        assert!(first_line(&message).contains(expected), "{message}");
    }
    let message = refused("settle_within", "settles_within");
    assert!(message.contains("did you mean `settle_within`?"), "{message}");
}

#[test]
fn a_phase_shorter_than_the_bound_is_refused() {
    let message = refused("chaos = \"20m\"", "chaos = \"20m\", heal = \"4m\"");
    assert_eq!(first_line(&message), "`heal` is not longer than `settle_within`: the bound could never be demanded");
}

#[test]
fn unknown_fault_kinds_come_with_the_list() {
    let message = refused_with("[faults]\nkinds = [\"pause\", \"puase\"]");
    assert!(message.contains("did you mean `pause`? allowed are `clock_offset`, `clock_drift`"), "{message}");
    assert!(message.contains("8 | kinds = [\"pause\", \"puase\"]\n  |                   ^^^^^^^"), "{message}");
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let error = Scenario::load(Path::new("/nowhere/s.toml")).expect_err("absent");
    assert_eq!(error.position(), None);
    assert!(error.to_string().starts_with("cannot read the scenario: "), "{error}");
    assert!(error.to_string().ends_with("--> /nowhere/s.toml"), "{error}");
    let error = Scenario::parse("seed = 1\nscenario = \"nowhere\"", "/x/r.toml").expect_err("absent");
    assert_eq!(error.position(), Some((2, 12)));
    assert!(error.message().starts_with("cannot read the scenario /x/nowhere.toml: "), "{error}");
}

#[test]
fn the_shipped_scenarios_are_valid() {
    let files = scenarios().read_dir().expect("the folder").flatten().map(|file| file.path());
    let files: Vec<_> = files.filter(|path| path.extension().is_some_and(|extension| extension == "toml")).collect();
    assert!(files.len() > 8, "{files:?}");
    for file in files {
        let scenario = Scenario::load(&file).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(file.file_stem().and_then(|stem| stem.to_str()), Some(scenario.name.as_str()));
    }
}

#[test]
fn the_example_of_the_readme_is_valid() {
    let readme = std::fs::read_to_string(scenarios().join("README.md")).expect("README.md");
    let examples: Vec<_> = readme.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(!examples.is_empty());
    for example in examples {
        let file = scenarios().join("regressions/example.toml");
        Scenario::parse(example, &file.display().to_string()).unwrap_or_else(|e| panic!("{e}"));
    }
}

#[test]
fn a_regression_pins_seed_tick_replicas_jobs_and_the_whole_plan() {
    let base = Scenario::load(&scenarios().join("planned-executions.toml")).unwrap_or_else(|e| panic!("{e}"));
    let file = scenarios().join("regressions/r.toml").display().to_string();
    let head =
        "scenario = \"../planned-executions\"\nseed = 7\ntick = \"20ms\"\nreplicas = 2\njobs = [\"invoice\"]\n";
    let fault = "[[fault]]\nkind = \"pause\"\nat_s = 3\nlasts_s = 9\n";
    let pinned = Scenario::parse(&format!("{head}{fault}"), &file).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!((pinned.name.as_str(), pinned.replicas, pinned.jobs.len()), ("r", 2, 1));
    assert_eq!((pinned.seed, pinned.lane), (Some(7), Lane::Turmoil { tick: Some(Duration::from_millis(20)) }));
    assert_eq!(draw(&pinned, 7), pinned.pinned, "nothing is drawn beside what is listed");
    assert_eq!(pinned.phases, base.phases);
    let drawn = Scenario::parse(&format!("{head}plan = \"drawn\"\n"), &file).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(drawn.faults, base.faults);
    let error = Scenario::parse(&head.replace("invoice", "invoices"), &file).expect_err("no such job");
    assert!(error.to_string().contains("did you mean `invoice`?"), "{error}");
}

#[test]
fn a_regression_of_a_regression_is_refused() {
    let folder = std::env::temp_dir().join(format!("tourbillon-scenario-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("first.toml"), "scenario = \"x\"\n").expect("written");
    let error = Scenario::parse("scenario = \"first\"\n", &folder.join("second.toml").display().to_string());
    std::fs::remove_dir_all(&folder).expect("removed");
    assert!(error.expect_err("refused").message().ends_with("first.toml names a scenario itself"));
}

proptest! {
    /// What shrinking writes is what the next run reads.
    #[test]
    fn a_regression_file_reads_back(seed in any::<u64>(), tick_ms in 1u64..=1000, has_ticks in any::<bool>()) {
        let base = scenarios().join("planned-executions.toml");
        let scenario = Scenario::load(&base).unwrap_or_else(|e| panic!("{e}"));
        let plan = draw(&scenario, seed);
        let tick = Some(Duration::from_millis(tick_ms));
        let lane = if has_ticks { Lane::Turmoil { tick } } else { Lane::Event };
        let without: Vec<_> = scenario.parts().into_iter().skip(1 + seed as usize % 3).collect();
        let (replicas, chaos) = (1 + u8::try_from(seed % 3).expect("below 3"), scenario.phases.chaos);
        let case = Case { seed, lane, replicas, chaos, without, plan: plan.clone() };
        let text = regression_file("../planned-executions.toml", &scenario, &case);
        let file = scenarios().join("regressions/r.toml").display().to_string();
        let again = Scenario::parse(&text, &file).unwrap_or_else(|e| panic!("{e}\n{text}"));
        prop_assert_eq!((again.seed, again.lane, &again.pinned), (Some(seed), lane, &plan));
        let reduced = scenario.reduced(&case);
        prop_assert_eq!((again.replicas, &again.jobs, &again.services), (replicas, &reduced.jobs, &reduced.services));
        // One of a regression names the scenario, and says all that the first one changed.
        let next = regression_file("../planned-executions.toml", &again, &Case { without: Vec::new(), ..case });
        let next = Scenario::parse(&next, &file).unwrap_or_else(|e| panic!("{e}\n{next}"));
        prop_assert_eq!(&next, &again);
        prop_assert_eq!(draw(&again, seed), plan);
    }
}

#[test]
fn a_plan_reads_well() {
    let plan: FaultPlan = serde_json::from_str(
        r#"{"fault": [{"at_s": 3, "kind": "apply_late", "percent": 50, "delay_s": 7, "lasts_s": 9, "replica": 1}],
            "trigger": [{"after": "applied_settle", "nth": 3, "then": "lose_reply"}]}"#,
    )
    .expect("a plan");
    let scenario = Scenario::load(&scenarios().join("planned-executions.toml")).expect("readable");
    let parts = scenario.parts();
    let case = Case {
        seed: 7,
        lane: Lane::Turmoil { tick: Some(Duration::from_millis(20)) },
        replicas: 2,
        chaos: scenario.phases.chaos,
        without: parts[1..].to_vec(),
        plan,
    };
    assert_eq!(
        regression_file("../a \"b\".toml", &scenario, &case),
        r#"scenario = '../a "b".toml'
seed = 7
lane = "turmoil"
tick = "20ms"
replicas = 2
jobs = ["rollup"]

[[fault]] # requests are applied after the caller gave up
kind = "apply_late"
at_s = 3
lasts_s = 9
replica = 1
percent = 50
delay_s = 7

[[trigger]]
after = "applied_settle"
nth = 3
then = "lose_reply"
"#
    );
}
