//! Which tests hold which behaviour of the systems that Tourbillon replaces: writes and checks `docs/PARITY.md`.
//! Reads source text only; knows nothing of what the tests do.
//!
//! A test names the behaviours that it holds in the comment right above it: `/// P-5, P-6: …` or `// P-5`. To write
//! the page anew after a change:
//!
//! ```sh
//! TOURBILLON_BLESS=1 cargo test -p tourbillon-tests --test parity
//! ```

mod behaviours;
mod page;
mod scan;

use std::{fs, path::Path};

use behaviours::{BEHAVIOURS, OPEN};

const PAGE: &str = "docs/PARITY.md";

#[test]
fn every_behaviour_is_held_by_a_test_and_the_page_says_which() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this crate lies in the workspace");
    let marks = scan::marks(root);
    let is_open = |number: &u32| OPEN.iter().any(|(open, _)| open == number);
    let unheld: Vec<_> = behaviours::numbers().filter(|n| !marks.contains_key(n) && !is_open(n)).collect();
    assert!(unheld.is_empty(), "no test names {}: write one, with `// P-n` above it", list(&unheld));
    let unknown: Vec<_> =
        marks.keys().copied().filter(|mark| !behaviours::numbers().any(|one| one == *mark)).collect();
    assert!(
        unknown.is_empty(),
        "tests name {}, which tests/tests/parity/behaviours.rs does not list",
        list(&unknown)
    );

    let page = page::render(BEHAVIOURS, OPEN, &marks);
    let path = root.join(PAGE);
    if std::env::var_os("TOURBILLON_BLESS").is_some() {
        fs::write(&path, &page).expect("the page can be written");
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == page,
        "{PAGE} is not what the tests say: TOURBILLON_BLESS=1 cargo test -p tourbillon-tests --test parity"
    );
}

fn list(numbers: &[u32]) -> String {
    numbers.iter().map(|number| format!("P-{number}")).collect::<Vec<_>>().join(", ")
}
