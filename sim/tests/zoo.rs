//! The zoo's registry is complete, its matrix is of this registry, and a few of its bugs are caught. Here and not beside the
//! registry, so that what needs planted bugs is one build, of core and the simulator alone.

use std::{collections::BTreeSet, fs, path::Path, sync::Arc};

use tourbillon_sim::{
    EngineFactory, checker,
    operator::loops::Loop,
    scenario::Scenario,
    world::engine,
    zoo::{self, Cage, Limits, Line, Matrix, Mutant, SUBSET, cage},
};

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

#[test]
fn every_row_of_the_zoo_is_there_once() {
    let numbered = |letter: char, count: u32| (1..=count).map(move |n| format!("{letter}{n}"));
    let rows: Vec<_> = numbered('A', 34).chain(numbered('B', 35)).chain(numbered('C', 10)).collect();
    let known: Vec<_> = Mutant::ALL.iter().map(|mutant| mutant.id()).filter(|id| !id.starts_with('D')).collect();
    assert_eq!(known, rows);
}

#[test]
fn every_bug_has_a_property_and_a_scenario_or_a_test_that_is_there() {
    for mutant in Mutant::ALL {
        match cage(*mutant) {
            Cage::Hunted { by, scenario } => {
                let is_checker = checker::all().iter().any(|checker| checker.guarantee == by);
                assert!(is_checker || Loop::ALL.iter().any(|which| which.id() == by), "{}: {by}", mutant.id());
                let file = root().join("scenarios").join(scenario);
                Scenario::load(&file).unwrap_or_else(|error| panic!("{}: {error}", mutant.id()));
            }
            Cage::Outside { test, .. } => {
                let (file, name) = test.split_once("::").expect("file::test");
                let text = fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
                assert!(text.contains(name), "{}: no {name} in {file}", mutant.id());
            }
            Cage::Impossible { why } => assert!(!why.is_empty()),
        }
    }
}

#[test]
fn every_scenario_of_the_zoo_has_a_bug() {
    let used: BTreeSet<&str> = Mutant::ALL
        .iter()
        .filter_map(|mutant| match cage(*mutant) {
            Cage::Hunted { scenario, .. } => scenario.strip_prefix("zoo/"),
            _ => None,
        })
        .collect();
    for file in fs::read_dir(root().join("scenarios/zoo")).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        assert!(!name.ends_with(".toml") || used.contains(&*name), "no bug is hunted in scenarios/zoo/{name}");
    }
}

/// Whoever adds a bug, or moves one, hunts it: `sim zoo --out scenarios/zoo --mutant <id>`.
#[test]
fn the_matrix_that_is_committed_is_of_this_zoo() {
    let text = fs::read_to_string(root().join("scenarios/zoo/matrix.json")).unwrap();
    let lines: Vec<Line> = serde_json::from_str(&text).unwrap();
    let told: Vec<_> = lines.iter().map(|line| (&*line.mutant, &*line.about, line.property.as_deref())).collect();
    let registered = Mutant::ALL.iter().map(|mutant| match cage(*mutant) {
        Cage::Hunted { by, .. } => (mutant.id(), mutant.about(), Some(by)),
        Cage::Outside { .. } | Cage::Impossible { .. } => (mutant.id(), mutant.about(), None),
    });
    assert_eq!(told, registered.collect::<Vec<_>>());
    for line in lines.iter().filter(|line| line.property.is_some()) {
        let is_there =
            matches!(cage(line.mutant.parse().unwrap()), Cage::Hunted { scenario, .. } if scenario == line.place);
        assert!(is_there, "{} is not hunted in {} any more", line.mutant, line.place);
        assert!(line.starts.1 >= 20, "{}: {} starts", line.mutant, line.starts.1);
    }
    let page = fs::read_to_string(root().join("scenarios/zoo/matrix.md")).unwrap();
    assert!(page == Matrix::of(lines).markdown(), "scenarios/zoo/matrix.md is not the page of matrix.json");
}

#[test]
fn every_checker_has_a_bug_that_it_must_catch() {
    for checker in checker::all() {
        let has = |mutant: &Mutant| matches!(cage(*mutant), Cage::Hunted { by, .. } if by == checker.guarantee);
        assert!(Mutant::ALL.iter().any(has), "{}: {}", checker.guarantee, checker.about);
    }
}

#[test]
fn a_few_of_them_are_caught() {
    let factory: EngineFactory = Arc::new(|| Ok(engine::memory()));
    let limits = Limits { starts: 2, seeds: 60, shrinks: 0, ..Limits::default() };
    let mut matrix = Matrix::default();
    zoo::visit(SUBSET, &root().join("scenarios"), limits, &factory, &mut |line| {
        assert!(line.property.is_some(), "{} is not hunted", line.mutant);
        matrix.put(line);
        Ok(())
    })
    .unwrap();
    let again = "cargo run --release -p tourbillon-cli --features zoo -- sim zoo --subset";
    assert!(matrix.is_held(), "{}\nto see them: {again}", matrix.summary());
    println!("{}", matrix.summary());
}
