//! Which coverage marks there are: read from the sources of this workspace, which are those of this build or nothing fits.

use std::{fs, io, path::Path};

use serde::Serialize;

/// What a mark is about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A branch of the driver.
    Driver,
    /// Something that a checker does not hold against anybody.
    Exemption,
    /// A comparison of a checker, which can fail.
    Objection,
}

/// A place that some run must be seen to reach.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mark {
    /// What it is about.
    pub kind: Kind,
    /// Unique: a sentence; of an objection its file and what it says.
    pub name: String,
    /// Relative to the root of the workspace.
    pub file: String,
    /// From 1.
    pub line: u32,
}

/// Where marks are, relative to the root of the workspace.
const FOLDERS: &[&str] = &["core/src/driver", "core/src/driver/service", "sim/src/checker"];

/// All marks, in the order of files and lines. `root` is the folder of this workspace.
///
/// # Errors
/// When sources cannot be read, or two marks have one name.
pub fn marks(root: &Path) -> Result<Vec<Mark>, String> {
    let mut marks = Vec::new();
    for folder in FOLDERS {
        let told = |error: io::Error| format!("cannot read the sources in {folder}: {error}");
        let mut files = Vec::new();
        for entry in fs::read_dir(root.join(folder)).map_err(told)? {
            let path = entry.map_err(told)?.path();
            if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
        files.sort();
        for path in files {
            let text = fs::read_to_string(&path).map_err(told)?;
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            marks.extend(of_file(&format!("{folder}/{name}"), &text));
        }
    }
    for (n, mark) in marks.iter().enumerate() {
        if let Some(same) = marks[..n].iter().find(|other| other.name == mark.name) {
            let (Mark { file, line, .. }, name) = (same, &mark.name);
            return Err(format!(
                "{}:{}: {name:?} is the mark of {file}:{line}, too: tell them apart",
                mark.file, mark.line
            ));
        }
    }
    Ok(marks)
}

/// The marks of one file, tests left out.
fn of_file(file: &str, text: &str) -> Vec<Mark> {
    let text = text.split("\n#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let in_driver = file.starts_with("core/");
    let mut marks: Vec<Mark> = Vec::new();
    let mut begins = 0;
    for (line, number) in text.split_inclusive('\n').zip(1..) {
        let (here, rest) = (line, &text[begins..]);
        begins += line.len();
        let found = if here.contains("sometimes!(") {
            let name = rest.split_once("sometimes!(").and_then(|(_, rest)| literal(rest));
            name.map(|name| (if in_driver { Kind::Driver } else { Kind::Exemption }, name))
        } else if here.contains(".demand(") && !here.contains(".demand(true,") {
            let told = rest.split_once("format!(").and_then(|(_, rest)| literal(rest));
            let stem = file.rsplit('/').next().unwrap_or(file).trim_end_matches(".rs");
            told.map(|told| (Kind::Objection, format!("{stem}: {told}")))
        } else {
            None
        };
        marks.extend(found.map(|(kind, name)| Mark { kind, name, file: file.to_owned(), line: number }));
    }
    marks
}

/// The text of the first string in `rest`, its lines joined as the compiler joins them.
fn literal(rest: &str) -> Option<String> {
    let (_, rest) = rest.split_once('"')?;
    let mut text = String::new();
    let mut chars = rest.chars();
    loop {
        match chars.next()? {
            '"' => return Some(text),
            '\\' => match chars.next()? {
                '\n' => {
                    let left = chars.as_str().trim_start();
                    chars = left.chars();
                }
                escaped => text.push(escaped),
            },
            other => text.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind, of_file};

    #[test]
    fn marks_are_found_with_their_names_and_lines() {
        let text = "fn f() {\n    sometimes!(\"it rains\", wet);\n    docket\n        .demand(a == b, &[], || {\n            \
                    format!(\"{a} is \\\n                not {b}\")\n        });\n    docket.demand(true, &[], String::new);\n}\n\
                    \n#[cfg(test)]\nmod tests {\n    sometimes!(\"no\");\n}\n";
        let of = |file| {
            let marks = of_file(file, text);
            marks.into_iter().map(|mark| (mark.kind, mark.name, mark.line)).collect::<Vec<_>>()
        };
        let objection = (Kind::Objection, "g99: {a} is not {b}".to_owned(), 4);
        assert_eq!(of("sim/src/checker/g99.rs"), [(Kind::Exemption, "it rains".to_owned(), 2), objection]);
        assert_eq!(of("core/src/driver/g99.rs")[0].0, Kind::Driver);
    }
}
