//! Finds the marks: `P-n` in the comment above a test. Knows Rust only as far as lines go.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// By number: file (from the workspace's root) and name of each test that names it.
pub(super) type Marks = BTreeMap<u32, BTreeSet<(String, String)>>;

/// All marks in the workspace.
pub(super) fn marks(root: &Path) -> Marks {
    let mut marks = Marks::new();
    for folder in ["core", "pg-backend", "sqlite-backend", "sim", "tests", "cli", "examples"] {
        for file in rust_files(&root.join(folder)) {
            let text = fs::read_to_string(&file).expect("source can be read");
            let shown = file.strip_prefix(root).unwrap_or(&file).display().to_string().replace('\\', "/");
            for (number, test) in marks_in(&text) {
                marks.entry(number).or_default().insert((shown.clone(), test));
            }
        }
    }
    marks
}

/// Pairs of number and test. A test is a function with a `#[…test…]` attribute, or one that a `cases!` list names.
fn marks_in(text: &str) -> Vec<(u32, String)> {
    let cases = case_names(text);
    let mut found = Vec::new();
    let mut numbers = Vec::new();
    let mut is_test = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with("//") {
            numbers.extend(numbers_in(line));
        } else if line.starts_with("#[") {
            is_test |= line.contains("test]") || line.contains("test(");
        } else {
            if let Some(name) = function_name(line)
                && (is_test || cases.contains(name))
            {
                found.extend(numbers.iter().map(|number| (*number, name.to_owned())));
            }
            numbers.clear();
            is_test = false;
        }
    }
    found
}

/// `async fn name(…` or `fn name(…`, with whatever stands before.
fn function_name(line: &str) -> Option<&str> {
    let (before, after) = line.split_once("fn ")?;
    let is_item = before.split_whitespace().all(|word| matches!(word, "pub" | "pub(super)" | "pub(crate)" | "async"));
    is_item.then(|| after.split(['(', '<']).next()).flatten()
}

/// What stands in the braces of `cases! { … }`, or beside its name in `CASES: &[Case] = &[ … ]`.
fn case_names(text: &str) -> BTreeSet<&str> {
    let between = |from: &str, to: &str| {
        let (_, rest) = text.split_once(from)?;
        rest.split(to).next()
    };
    if let Some(list) = between("CASES: &[Case] = &[", "];") {
        // Every second piece follows a name in quotes: `, function),`.
        return list
            .split('"')
            .skip(2)
            .step_by(2)
            .filter_map(|piece| piece.split([',', ')']).nth(1))
            .map(str::trim)
            .collect();
    }
    let list = between("cases! {", "}").unwrap_or_default();
    // In front may stand what all cases have in common: `unmigrated:`.
    let names = list.split(',').map(|name| name.rsplit(':').next().unwrap_or(name).trim());
    names.filter(|name| !name.is_empty()).collect()
}

/// Every `P-12` of a line.
fn numbers_in(line: &str) -> Vec<u32> {
    let digits = |part: &str| part.chars().take_while(char::is_ascii_digit).collect::<String>();
    line.split("P-").skip(1).filter_map(|part| digits(part).parse().ok()).collect()
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
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

#[test]
fn a_mark_counts_only_above_a_test() {
    let text = "
        super::cases! { in_common:
            one_case,
        }
        /// P-5, G1: why.
        async fn one_case(s: &Subject) {}
        // P-6
        #[test]
        fn one_test() {}
        // P-7
        fn a_helper() {}
        // P-8

        #[test]
        fn apart() {}
    ";
    let expected = [(5, "one_case".to_owned()), (6, "one_test".to_owned())];
    assert_eq!(marks_in(text), expected);
    let text = "
        pub(crate) const CASES: &[Case] = &[
            (\"short_name\", short_name),
            (
                \"long_name\",
                long_name,
            ),
        ];
        // P-5
        fn short_name(cluster: &'static Cluster) {}
        // P-6
        fn long_name(
        // P-7
        fn not_listed() {}
    ";
    let expected = [(5, "short_name".to_owned()), (6, "long_name".to_owned())];
    assert_eq!(marks_in(text), expected);
}
