//! Writes the page: Markdown from behaviours and marks.

use std::{collections::BTreeMap, fmt::Write};

use super::{behaviours::Part, scan::Marks};

/// The whole page.
pub(super) fn render(parts: &[Part], open: &[(u32, &str)], marks: &Marks) -> String {
    let mut page = String::from(
        "# Parity\n\nWhat the five systems that Tourbillon replaces can do, and the tests that hold each behaviour \
         here. Cases under\n`tests/src/conformance` run on the memory store, on SQLite (a file, in memory) and on \
         Postgres.\n\nGenerated: `TOURBILLON_BLESS=1 cargo test -p tourbillon-tests --test parity`. A number that no \
         test names fails that test.\n",
    );
    for part in parts {
        let _ = writeln!(page, "\n## {}\n", part.title);
        for (number, behaviour) in part.behaviours {
            let tests = marks.get(number).into_iter().flatten();
            let mut by_file: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
            for (file, test) in tests {
                by_file.entry(file).or_default().push(test);
            }
            let _ = writeln!(page, "**P-{number}** {behaviour}\n");
            for (file, tests) in by_file {
                let tests: Vec<_> = tests.iter().map(|test| format!("`{test}`")).collect();
                let _ = writeln!(page, "- [`{file}`](../{file}): {}", tests.join(", "));
            }
            for (_, what) in open.iter().filter(|(open, _)| open == number) {
                let _ = writeln!(page, "- **not yet**: {what}");
            }
            page.push('\n');
        }
    }
    let mut page = page.replace("\n\n\n", "\n\n");
    page.truncate(page.trim_end().len());
    page.push('\n');
    page
}
