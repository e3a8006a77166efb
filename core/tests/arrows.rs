//! Rules about the shape of the workspace, as tests: which module may use which, which crate may know which, how long
//! a file may be. `docs/ARCHITECTURE.md` says why. Reads text only; knows nothing of what the code does.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// What each module of core may use, as path prefixes below `crate::`. Itself is always allowed.
const MODULES: &[(&str, &[&str])] = &[
    // Only a macro, and no more than `false` in a normal build.
    ("mutant", &[]),
    ("model", &[]),
    ("plan", &["model"]),
    ("store", &["model"]),
    // Only the type: a clock that sleeps has the same boxed future as a store that is called.
    ("runtime", &["model", "store::BoxFuture"]),
    ("job", &["model", "plan", "runtime", "store"]),
    // Errors of user code and reasons to stop are the same for handlers and for ticks.
    ("service", &["job::BoxError", "job::StopReason", "job::Run", "model", "runtime", "store"]),
    ("queue", &["job", "model", "plan", "runtime", "store"]),
    ("health", &["model", "plan", "store"]),
    ("driver", &["health", "job", "model", "plan", "queue", "runtime", "service", "store"]),
];

/// Which packages of this workspace, and which databases and simulators, each folder may depend on.
const PACKAGES: &[(&str, &[&str])] = &[
    ("core", &[]),
    ("pg-backend", &["tourbillon", "sqlx"]),
    ("sqlite-backend", &["tourbillon", "rusqlite"]),
    ("sim", &["tourbillon", "turmoil"]),
    ("web", &["tourbillon"]),
    // The dashboard is tested in a browser.
    ("tests", &["tourbillon", "tourbillon-pg", "tourbillon-sqlite", "tourbillon-sim", "tourbillon-web", "sqlx"]),
    (
        "cli",
        &["tourbillon", "tourbillon-pg", "tourbillon-sqlite", "tourbillon-sim", "tourbillon-tests", "tourbillon-web"],
    ),
    // The tests of the example start a Postgres.
    (
        "examples",
        &["tourbillon", "tourbillon-pg", "tourbillon-sqlite", "tourbillon-sim", "tourbillon-tests", "tourbillon-web"],
    ),
    ("bench", &["tourbillon", "tourbillon-pg", "tourbillon-sqlite", "sqlx"]),
];

/// Outside crates that only the folders named above may have.
const GUARDED: &[&str] = &["sqlx", "rusqlite", "turmoil"];

/// Lines of one file. Long before this one asks whether it is two ideas.
const MAX_LINES: usize = 700;

#[test]
fn modules_of_core_use_only_what_they_may() {
    let src = root().join("core/src");
    let mut broken = Vec::new();
    for (module, allowed) in MODULES {
        for file in rust_files(&src.join(module)) {
            let text = read(&file);
            for (line, path) in references(&text) {
                let target = path.split("::").next().unwrap_or_default();
                let may = target == *module || allowed.iter().any(|prefix| is_within(&path, prefix));
                if !may {
                    let may_use = if allowed.is_empty() { "nothing".to_owned() } else { allowed.join(", ") };
                    broken.push(format!(
                        "{}:{line}: `{module}` uses `crate::{path}`, but may use {may_use}: move what is needed to \
                         where the arrows allow it, or change MODULES here and docs/ARCHITECTURE.md with it",
                        shown(&file)
                    ));
                }
            }
            if let Some(line) = climbs(&text) {
                let file = shown(&file);
                broken.push(format!("{file}:{line}: `super::super` hides an arrow: write it as `crate::…`"));
            }
        }
    }
    report(&broken);
}

#[test]
fn every_module_of_core_has_its_arrows_listed() {
    let lib = read(&root().join("core/src/lib.rs"));
    let modules: Vec<_> = lib
        .lines()
        .filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod ")?.strip_suffix(';'))
        .collect();
    let listed: Vec<_> = MODULES.iter().map(|(module, _)| *module).collect();
    let missing: Vec<_> = modules
        .iter()
        .filter(|module| !listed.contains(module))
        .map(|module| format!("core/src/lib.rs: module `{module}` is not in MODULES of core/tests/arrows.rs: add it"))
        .collect();
    assert_eq!(modules.len() - missing.len(), listed.len(), "MODULES lists a module that core does not have");
    report(&missing);
}

#[test]
fn crates_depend_only_on_what_they_may() {
    let mut broken = Vec::new();
    for folder in members() {
        let file = format!("{folder}/Cargo.toml");
        let Some((_, allowed)) = PACKAGES.iter().find(|(name, _)| *name == folder) else {
            broken.push(format!("{file}: `{folder}` is not in PACKAGES of core/tests/arrows.rs: add it"));
            continue;
        };
        for (line, package) in dependencies(&read(&root().join(&file))) {
            let is_ours = package == "tourbillon" || package.starts_with("tourbillon-");
            if (is_ours || GUARDED.contains(&package.as_str())) && !allowed.contains(&package.as_str()) {
                broken.push(format!(
                    "{file}:{line}: `{folder}` depends on `{package}`, but may only on [{}]: move the code that needs \
                     it, or change PACKAGES here and docs/ARCHITECTURE.md with it",
                    allowed.join(", ")
                ));
            }
        }
    }
    report(&broken);
}

#[test]
fn files_are_short_and_say_what_they_own() {
    let mut broken = Vec::new();
    for file in members().iter().flat_map(|folder| rust_files(&root().join(folder))) {
        let text = read(&file);
        let lines = text.lines().count();
        if lines > MAX_LINES {
            let file = shown(&file);
            broken.push(format!("{file}:{MAX_LINES}: {lines} lines, at most {MAX_LINES}: split it by idea"));
        }
        if !text.starts_with("//!") {
            let file = shown(&file);
            broken.push(format!("{file}:1: no `//!` at the top: say what the file owns and refuses to know"));
        }
    }
    report(&broken);
}

#[test]
fn the_readme_shows_the_example_as_it_is() {
    let readme = read(&root().join("README.md"));
    let shown = readme.split_once("```rs\n").and_then(|(_, rest)| rest.split_once("```\n")).map(|(code, _)| code);
    let shown = shown.expect("the README shows an example in a block that begins with ```rs");
    let is_there = read(&root().join("sim/tests/own_job.rs")).contains(shown);
    assert!(is_there, "README.md: the example is not that of sim/tests/own_job.rs any more: copy it again");
}

fn report(broken: &[String]) {
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("core lies in the workspace").to_owned()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

/// The folders of the workspace, as its manifest lists them.
fn members() -> Vec<String> {
    let manifest = read(&root().join("Cargo.toml"));
    let list = manifest.split_once("members = [").expect("the workspace lists its members").1;
    let list = list.split_once(']').expect("a list ends").0;
    list.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// All Rust files below `folder`, in order.
fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries =
            fs::read_dir(&folder).unwrap_or_else(|error| panic!("cannot list {}: {error}", folder.display()));
        for entry in entries {
            let path = entry.expect("a folder can be listed").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

fn is_within(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// Every path below `crate::` that the text names outside of comment lines, with its line: in `use` lines, groups
/// taken apart, and in the code.
fn references(text: &str) -> Vec<(usize, String)> {
    let code = without_comment_lines(text);
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let is_whole = !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$');
        if is_whole {
            let line = code[..at].matches('\n').count() + 1;
            let mut paths = Vec::new();
            take_apart(&code[at + "crate::".len()..], "", &mut paths);
            found.extend(paths.into_iter().map(|path| (line, path)));
        }
    }
    found
}

/// The same text with comment lines emptied, so that lines keep their numbers.
fn without_comment_lines(text: &str) -> String {
    let kept = text.lines().map(|line| if line.trim_start().starts_with("//") { "" } else { line });
    kept.collect::<Vec<_>>().join("\n")
}

/// Reads one use tree, `a::{b, c::d}` for example, and returns what is behind it.
fn take_apart<'t>(text: &'t str, prefix: &str, paths: &mut Vec<String>) -> &'t str {
    let text = text.trim_start();
    if let Some(mut rest) = text.strip_prefix('{') {
        loop {
            rest = rest.trim_start();
            if let Some(behind) = rest.strip_prefix('}') {
                return behind;
            }
            if rest.is_empty() {
                return rest;
            }
            rest = take_apart(rest, prefix, paths);
            // An alias, a comma, or whatever else stands between two trees.
            rest = &rest[rest.find([',', '}']).unwrap_or(rest.len())..];
            rest = rest.strip_prefix(',').unwrap_or(rest);
        }
    }
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '*')).unwrap_or(text.len());
    let (name, behind) = text.split_at(end);
    let path = match (prefix, name) {
        (prefix, "self") => prefix.to_owned(),
        ("", name) => name.to_owned(),
        (prefix, name) => format!("{prefix}::{name}"),
    };
    match behind.strip_prefix("::") {
        Some(rest) => take_apart(rest, &path, paths),
        None => {
            paths.push(path);
            behind
        }
    }
}

/// The first line that climbs two modules at once. From a file of a module that is `crate::`.
fn climbs(text: &str) -> Option<usize> {
    without_comment_lines(text).lines().position(|line| line.contains("super::super")).map(|index| index + 1)
}

/// The packages of all dependency tables of a manifest, with their lines.
fn dependencies(manifest: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut in_table = false;
    for (index, line) in manifest.lines().enumerate() {
        let line = line.trim();
        if let Some(header) = line.strip_prefix('[') {
            let header = header.trim_end_matches(']');
            in_table = header.ends_with("dependencies");
            // `[dependencies.name]`
            if let Some((table, name)) = header.rsplit_once('.')
                && table.ends_with("dependencies")
            {
                found.push((index + 1, name.to_owned()));
            }
        } else if in_table && !line.starts_with('#') {
            let end = line.find(['=', '.', ' ']).unwrap_or(0);
            if end > 0 {
                found.push((index + 1, line[..end].trim_matches('"').to_owned()));
            }
        }
        // A rename does not hide the package.
        if let Some((_, renamed)) = line.split_once("package = \"") {
            found.push((index + 1, renamed.split('"').next().unwrap_or_default().to_owned()));
        }
    }
    found
}

#[test]
fn use_lines_are_taken_apart() {
    let text = "//! crate::nothing\n/// [`crate::nothing`]\nuse crate::{\n    model::{self, Json as J, transition::{a, b}},\n    \
                store::*,\n};\nlet x = crate::plan::Step::new();\npub(crate) fn f() { $crate::x(); mycrate::y(); }\n\
                use crate::runtime;\n";
    let found: Vec<_> = references(text).into_iter().map(|(line, path)| format!("{line} {path}")).collect();
    let expected = [
        "3 model",
        "3 model::Json",
        "3 model::transition::a",
        "3 model::transition::b",
        "3 store::*",
        "7 plan::Step::new",
        "9 runtime",
    ];
    assert_eq!(found, expected);
    assert!(is_within("store::BoxFuture", "store") && is_within("store::BoxFuture", "store::BoxFuture"));
    assert!(!is_within("store::BoxFutureX", "store::BoxFuture") && !is_within("storeroom", "store"));
}

#[test]
fn dependencies_are_found_in_every_form() {
    let manifest = "[package]\nname = \"sqlx\"\n[dependencies]\na = \"1\"\nb.workspace = true\n# c = \"1\"\n\
                    d = { package = \"sqlx\", version = \"1\" }\n[target.'cfg(unix)'.dev-dependencies]\ne = \"1\"\n\
                    [dependencies.f]\nversion = \"1\"\n[features]\ng = []\n";
    let found: Vec<_> = dependencies(manifest).into_iter().map(|(line, name)| format!("{line} {name}")).collect();
    assert_eq!(found, ["4 a", "5 b", "7 d", "7 sqlx", "9 e", "10 f"]);
}
