//! Owns the statements: the files of `sql/` with the schema name filled in, once per store.
//!
//! Placeholders: `{schema}` is the quoted schema name. `{execution_json:x}`, `{claimed_columns:x}`, `{kept_columns:x}`,
//! `{pause_json:x}`, `{schedule_json:x}` and `{turns_json:x}` are the fragments of `sql/fragment/` for the row called
//! `x` (the last one beside a clock called `c`); without a row, and in `{audit_columns}`, they are bare column names.
//! `{lane:x}` is the lane of a row, `{elapsed:x}` the milliseconds since its start at the clock `c`, `{claimable_from:x}` the
//! instant from which it may be claimed, and `{is_free:x}` whether its lease, if it has one, is over at the clock `began`.
//! `{is_plain:x}` is whether nothing but to be taken can become of it, `{is_charged:x}` whether that charges its attempt.
//! `{claimed_set:x}` is what a claim writes to it, with `now`, `is_charged` and `keeps_at` of a row called `d`: when, whether the attempt
//! is charged, and the place in the order of claims that it keeps, if it does. `{page}` is a number that the planner should know, and
//! marks like `--[rate]` and `--[no rate]` are for lines that only one of two statements has: see `claim_executions.sql`.

use std::sync::Arc;

use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};

use tourbillon::store::{ErrorKind, StoreError};

const FRAGMENTS: [(&str, &str); 14] = [
    ("audit_columns", include_str!("../sql/fragment/audit_columns.sql")),
    ("claimed_columns", include_str!("../sql/fragment/claimed_columns.sql")),
    ("claimed_set", include_str!("../sql/fragment/claimed_set.sql")),
    ("elapsed", include_str!("../sql/fragment/elapsed.sql")),
    ("execution_json", include_str!("../sql/fragment/execution_json.sql")),
    ("is_charged", include_str!("../sql/fragment/is_charged.sql")),
    ("is_free", include_str!("../sql/fragment/is_free.sql")),
    ("is_plain", include_str!("../sql/fragment/is_plain.sql")),
    ("kept_columns", include_str!("../sql/fragment/kept_columns.sql")),
    ("lane", include_str!("../sql/fragment/lane.sql")),
    ("pause_json", include_str!("../sql/fragment/pause_json.sql")),
    ("schedule_json", include_str!("../sql/fragment/schedule_json.sql")),
    ("turns_json", include_str!("../sql/fragment/turns_json.sql")),
    // Behind those that name it.
    ("claimable_from", include_str!("../sql/fragment/claimable_from.sql")),
];

/// Longest identifier that Postgres keeps; a longer one is cut silently.
const MAX_IDENTIFIER_BYTES: usize = 63;

/// A checked schema name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Schema {
    name: Arc<str>,
    quoted: Arc<str>,
}

impl Schema {
    /// Takes any name that Postgres can keep, however odd: it is quoted everywhere.
    pub(crate) fn new(name: &str) -> Result<Self, StoreError> {
        let wrong = if name.is_empty() {
            "is empty"
        } else if name.len() > MAX_IDENTIFIER_BYTES {
            "is longer than the 63 bytes that the server keeps"
        } else if name.contains(char::is_control) {
            "holds a control character"
        } else {
            let quoted = format!("\"{}\"", name.replace('"', "\"\""));
            return Ok(Self { name: name.into(), quoted: quoted.into() });
        };
        Err(StoreError::new(ErrorKind::Invalid, format!("schema name {name:?} {wrong}")))
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Fills in a file's placeholders. The result holds nothing of a request: values are always parameters.
    pub(crate) fn fill(&self, text: &str) -> SqlStr {
        let mut text = text.to_owned();
        for (name, fragment) in FRAGMENTS {
            text = expand(&text, name, fragment.trim_end());
        }
        AssertSqlSafe(text.replace("{schema}", &self.quoted)).into_sql_str()
    }
}

fn expand(text: &str, name: &str, fragment: &str) -> String {
    let bare = text.replace(&format!("{{{name}}}"), &fragment.replace("$row.", ""));
    let marker = format!("{{{name}:");
    let mut parts = bare.split(&marker);
    let mut filled = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (row, rest) = part.split_once('}').expect("every placeholder in our own files is closed");
        filled.push_str(&fragment.replace("$row", row));
        filled.push_str(rest);
    }
    filled
}

/// The statement without the lines that have this mark.
fn leave_out(text: &str, mark: &str) -> String {
    text.lines().filter(|line| !line.ends_with(mark)).flat_map(|line| [line, "\n"]).collect()
}

/// The statement for the smallest page that holds `limit` rows.
fn fitting(pages: &[(u32, SqlStr); 3], limit: u32) -> &SqlStr {
    let fitting = pages.iter().find(|(page, _)| limit <= *page);
    &fitting.unwrap_or(&pages[2]).1
}

/// A file of `sql/`.
#[cfg(not(feature = "planted"))]
const fn text<'a>(_: &str, text: &'a str) -> &'a str {
    text
}

/// A file of `sql/`, with the bug in it that is loose.
#[cfg(feature = "planted")]
use crate::planted::text;

macro_rules! file {
    ($($name:tt)+) => {
        &text($($name)+, include_str!(concat!("../sql/", $($name)+, ".sql")))
    };
}

macro_rules! statements {
    ($($name:ident),* $(,)?) => {
        /// One prepared text per file of `sql/`.
        #[derive(Clone, Debug)]
        pub(crate) struct Statements {
            $(pub(crate) $name: SqlStr,)*
            /// The claim for up to 10, 100, 1000 rows.
            claims: [(u32, SqlStr); 3],
            /// The same at a rate.
            rated: [(u32, SqlStr); 3],
            /// Of rows that nothing else can become of.
            plain: [(u32, SqlStr); 3],
            /// Of such that lie behind the last one taken.
            onward: [(u32, SqlStr); 3],
            /// Ends successes that move to history, and nothing else.
            pub(crate) settle_keeping: SqlStr,
            /// The same of those that are forgotten.
            pub(crate) settle_forgetting: SqlStr,
        }

        impl Statements {
            pub(crate) fn new(schema: &Schema) -> Self {
                let claim = file!("claim_executions");
                let plain = file!("claim_plain");
                let onward = file!("claim_onward");
                let settle = file!("settle_plain");
                let pages = |claim: &str| {
                    [10, 100, 1000].map(|page| (page, schema.fill(&claim.replace("{page}", &page.to_string()))))
                };
                Self {
                    $($name: schema.fill(file!(stringify!($name))),)*
                    claims: pages(&leave_out(claim, "--[rate]")),
                    rated: pages(&leave_out(claim, "--[no rate]")),
                    plain: pages(plain),
                    onward: pages(onward),
                    settle_keeping: schema.fill(&leave_out(settle, "--[forgetting]")),
                    settle_forgetting: schema.fill(&leave_out(settle, "--[keeping]")),
                }
            }

            /// The claim for up to `limit` rows, at a rate or not.
            pub(crate) fn claim(&self, limit: u32, has_rate: bool) -> &SqlStr {
                fitting(if has_rate { &self.rated } else { &self.claims }, limit)
            }

            /// The claim for up to `limit` rows that are all plain.
            pub(crate) fn claim_plain(&self, limit: u32) -> &SqlStr {
                fitting(&self.plain, limit)
            }

            /// The same, onward.
            pub(crate) fn claim_onward(&self, limit: u32) -> &SqlStr {
                fitting(&self.onward, limit)
            }

            pub(crate) fn get(&self, name: &str) -> Option<&str> {
                match name {
                    "claim_executions" => Some(self.claim(100, false).as_str()),
                    "claim_executions_1000" => Some(self.claim(1000, false).as_str()),
                    "claim_plain" => Some(self.claim_plain(100).as_str()),
                    "claim_plain_1000" => Some(self.claim_plain(1000).as_str()),
                    "claim_onward" => Some(self.claim_onward(100).as_str()),
                    "claim_onward_1000" => Some(self.claim_onward(1000).as_str()),
                    "claim_executions_at_a_rate" => Some(self.claim(100, true).as_str()),
                    "settle_keeping" => Some(self.settle_keeping.as_str()),
                    "settle_forgetting" => Some(self.settle_forgetting.as_str()),
                    $(stringify!($name) => Some(self.$name.as_str()),)*
                    _ => None,
                }
            }

            #[cfg(test)]
            fn all(&self) -> Vec<(&'static str, SqlStr)> {
                let claims = self.claims.iter().chain(&self.rated).chain(&self.plain).chain(&self.onward).map(|(_, sql)| ("claim_executions", sql.clone()));
                let settles = [&self.settle_keeping, &self.settle_forgetting].map(|sql| ("settle_plain", sql.clone()));
                [$((stringify!($name), self.$name.clone()),)*].into_iter().chain(claims).chain(settles).collect()
            }
        }
    };
}

statements![
    acquire_lock,
    cancel_executions,
    check_keys,
    claim_again,
    clamp_executions,
    clamp_gates,
    clamp_locks,
    clean_items,
    delete_items,
    edit_schedule,
    enqueue_alike,
    enqueue_items,
    enqueue_one,
    heartbeat_executions,
    hold_lock,
    list_audit,
    list_executions,
    list_items,
    list_jobs,
    list_locks,
    list_pauses,
    list_recent,
    list_scopes,
    list_schedules,
    list_skipped,
    lock_executions,
    lock_jobs,
    lock_queue,
    lock_requeue,
    make_gates,
    pause_job,
    plan_slots,
    prune_gates,
    prune_history,
    read_clock,
    read_cursors,
    read_due,
    read_queue_stats,
    read_stats,
    register_jobs,
    release_lock,
    renew_lock,
    requeue_executions,
    rescue_executions,
    resume_job,
    set_aside,
    settle_executions,
    start_executions,
    tell_listeners,
    trigger_job,
    update_item,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schema_names_are_quoted_and_checked() {
        assert_eq!(&*Schema::new("a\"b").unwrap().quoted, "\"a\"\"b\"");
        for wrong in ["", "a\0b", &"x".repeat(64)] {
            assert_eq!(Schema::new(wrong).unwrap_err().kind(), ErrorKind::Invalid, "{wrong:?}");
        }
    }

    #[test]
    fn every_placeholder_is_filled_and_every_file_says_what_it_is_for() {
        for (name, sql) in Statements::new(&Schema::new("s").unwrap()).all() {
            let sql = sql.as_str();
            assert!(!sql.replace("'{}'", "").contains('{'), "{name}: {sql}");
            assert!(!sql.contains("{schema}") && !sql.contains("$row") && sql.starts_with("-- "), "{name}: {sql}");
        }
    }

    /// Zoo B27. It would not survive a transaction pooler.
    #[test]
    fn no_statement_leaves_state_in_its_session() {
        for (name, sql) in Statements::new(&Schema::new("s").unwrap()).all() {
            let sql = sql.as_str().to_lowercase();
            for state in ["advisory", "listen ", "notify ", " temp", "set_config", "set local", "prepare "] {
                assert!(!sql.contains(state), "{name} leaves session state: {state}");
            }
        }
    }
}
