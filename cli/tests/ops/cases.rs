//! What each command says, and how it leaves.

use serde_json::Value;

use super::site::{Kind, Site, run};

type Case = (&'static str, fn(&Site));

pub(crate) const CASES: &[Case] = &[
    ("a_database_without_schema_names_the_command_that_makes_it", without_schema),
    ("migrate_makes_the_schema_once_and_check_says_whether_it_is_there", migrate),
    ("listings_say_the_same_of_every_database", listings),
    ("a_queue_with_a_rate_says_what_waits_for_its_turn_and_a_row_how_far_it_is", limited),
    ("one_execution_shows_its_error_and_its_audit_events", one),
    ("listings_are_filtered_and_paged", pages),
    ("json_has_readable_instants_and_whole_rows", as_json),
    ("status_leaves_with_1_when_a_job_is_stale_or_something_is_late", status),
    ("retry_gives_the_dead_another_life_under_the_operator_s_name", retry),
    ("cancel_ends_what_waits_and_asks_what_runs", cancel),
    ("pause_and_resume_say_what_holds_and_since_when", pause),
    ("trigger_runs_a_job_once_by_its_registered_rules", trigger),
    ("schedules_are_set_listed_and_removed_by_revision", schedules),
    ("serve_shows_the_database_under_its_own_names_until_it_is_stopped", serve),
    ("prune_deletes_what_is_old_and_nothing_younger", prune),
    ("a_reader_that_has_seen_enough_is_no_error", unread),
    ("an_unknown_job_is_answered_with_the_nearest_names", unknown),
];

pub(crate) const ALONE: &[(&str, fn())] = &[
    ("help_is_as_it_was_read", help),
    ("a_wrong_url_says_how_to_write_one", wrong_urls),
    ("a_file_that_is_not_there_is_not_made", missing_file),
];

const DEAD: &str = "00000000-0000-0000-0000-000000000002";

fn unread(site: &Site) {
    let site = Site::filled(site.kind);
    let said = site.unread(&["executions"]);
    assert_eq!((said.code, said.err.as_str()), (141, ""), "as a process that SIGPIPE ended");
}

fn without_schema(site: &Site) {
    if matches!(site.kind, Kind::Sqlite) {
        std::fs::write(site.url.trim_start_matches("sqlite://"), "").expect("an empty file is an empty database");
    }
    let said = site.run(&["status"]);
    assert_eq!(said.code, 2);
    assert!(said.err.contains("run `tourbillon migrate` with the same --database"), "{}", said.err);
}

fn migrate(site: &Site) {
    if matches!(site.kind, Kind::Postgres) {
        assert_eq!(site.run(&["migrate", "--check"]).code, 1, "there is no schema yet");
    }
    let first = site.says(&["migrate"]);
    assert!(first.contains("applied step 1\n") && first.contains("has schema version"), "{first}");
    let again = site.says(&["migrate"]);
    assert!(!again.contains("applied") && again.contains("has schema version"), "{again}");
    assert!(site.says(&["migrate", "--check"]).contains("nothing is pending"));
    assert_eq!(site.json(&["migrate"])["applied"], Value::Array(Vec::new()));
}

fn listings(site: &Site) {
    let site = Site::filled(site.kind);
    let commands: [&[&str]; 7] =
        [&["jobs"], &["jobs", "digest"], &["executions"], &["queue"], &["queue", "mail"], &["locks"], &["missed"]];
    let said: String =
        commands.iter().map(|command| format!("$ {}\n{}\n", command.join(" "), site.says(command))).collect();
    let status = site.run(&["status"]);
    assert_eq!(status.code, 1, "nothing has succeeded since 2026 began");
    let said = format!("$ status\n{}\n{said}", status.out);
    // One snapshot for both databases: they must be told of in the same words.
    insta::with_settings!({snapshot_path => "snapshots", prepend_module_to_snapshot => false}, {
        insta::assert_snapshot!("listings", without_ages(&said));
    });
}

fn one(site: &Site) {
    let site = Site::filled(site.kind);
    let said = without_ages(&site.says(&["executions", DEAD]));
    insta::with_settings!({snapshot_path => "snapshots", prepend_module_to_snapshot => false}, {
        insta::assert_snapshot!("execution", said);
    });
    let said = site.run(&["executions", "00000000-0000-0000-0000-0000000000ee"]);
    assert_eq!(said.code, 2);
    assert!(said.err.contains("it never was, or it was pruned"), "{}", said.err);
}

fn limited(site: &Site) {
    let site = Site::new(site.kind);
    assert_eq!(site.run(&["migrate"]).code, 0);
    site.limit();
    let queues = site.says(&["queue"]);
    assert!(queues.contains("every 1h; limited, next in 59m"), "{queues}");
    let turns = &site.json(&["queue"])["queues"]["sms"]["turns"];
    assert_eq!((&turns["turn_us"], &turns["shut"]), (&Value::from(3_600_000_000_u64), &Value::from(1)));
    assert!(turns["next_at"].as_str().is_some_and(|at| at.ends_with('Z')), "{turns}");
    let rows = site.says(&["executions", "--state", "running"]);
    assert!(rows.contains("25 %, page 3 of 12; lease ends in"), "{rows}");
    let row = site.says(&["executions", "00000000-0000-0000-0000-000000000021"]);
    assert!(row.contains("25 %, page 3 of 12") && row.contains("said "), "{row}");
}

fn pages(site: &Site) {
    let site = Site::filled(site.kind);
    let mut seen = Vec::new();
    let mut after: Option<String> = None;
    for _ in 0..4 {
        let mut command = vec!["executions", "--limit", "1"];
        if let Some(after) = &after {
            command.extend(["--after", after]);
        }
        let page = site.json(&command);
        seen.push(page["executions"][0]["id"].as_str().expect("one row a page").to_owned());
        after = page["next"].as_str().map(str::to_owned);
    }
    let last = after.expect("a full page may have another behind it");
    assert_eq!(site.json(&["executions", "--after", &last])["executions"], Value::Array(Vec::new()));
    let whole = site.json(&["executions"]);
    let ids: Vec<_> = whole["executions"].as_array().expect("rows").iter().map(|row| row["id"].as_str()).collect();
    assert_eq!(ids, seen.iter().map(|id| Some(id.as_str())).collect::<Vec<_>>());

    let dead = site.json(&["executions", "--job", "digest", "--state", "dead"]);
    assert_eq!(dead["executions"].as_array().map(Vec::len), Some(1));
    let acme = site.json(&["executions", "--scope", "tenant/acme"]);
    assert_eq!(acme["executions"][0]["state"], "succeeded");
    assert_eq!(site.json(&["jobs", "--limit", "1"])["next"], "digest");
    assert_eq!(site.json(&["jobs", "--after", "digest"])["jobs"][0]["job"], "rollup");
}

fn as_json(site: &Site) {
    let site = Site::filled(site.kind);
    let jobs = site.json(&["jobs"]);
    assert_eq!(jobs["jobs"][0]["last_success"]["slot_at"], "2025-12-31T23:55:00Z");
    let items = site.json(&["queue", "mail"]);
    assert_eq!((&items["figures"]["running"], &items["figures"]["scheduled"]), (&1.into(), &1.into()));
    assert_eq!(items["items"].as_array().map(Vec::len), Some(2));
    assert_eq!(site.json(&["queue"])["queues"]["mail"]["running"], 1);
    assert_eq!(site.json(&["locks"])["locks"][0]["epoch"], 1);
    assert_eq!(site.json(&["missed", "--job", "digest"])["entries"][0]["slots"]["count"], 2);
    let one = site.json(&["executions", DEAD]);
    assert_eq!(one["executions"][0]["error"]["text"], "the mail server\nrefuses");
    assert_eq!(one["audit"].as_array().map(Vec::len), Some(4));
    site.says(&["pause", "digest"]);
    let status = site.json(&["status", "--max-lag", "36500d"]);
    assert_eq!((&status["oldest_due"]["job"], &status["is_healthy"]), (&"mail".into(), &true.into()));
    assert_eq!(status["health"]["jobs"][0]["scopes"][0]["planned_at"], "2025-12-31T23:55:00Z");
}

fn status(site: &Site) {
    let site = Site::filled(site.kind);
    let kinds = |arguments: &[&str]| {
        let said = site.run(&[arguments, &["--json"]].concat());
        let status: Value = serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}: {}", said.err));
        let findings = status["health"]["findings"].as_array().expect("a list");
        let kinds: Vec<_> =
            findings.iter().map(|finding| finding["kind"].as_str().expect("a kind").to_owned()).collect();
        assert_eq!(
            (status["is_healthy"].as_bool(), said.code),
            (Some(kinds.is_empty()), i32::from(!kinds.is_empty()))
        );
        kinds
    };
    assert_eq!(kinds(&["status"]), ["stale", "late"]);
    assert_eq!(kinds(&["status", "--max-lag", "36500d"]), ["stale"], "the item has waited since 2026 began");
    site.says(&["pause", "digest"]);
    assert_eq!(kinds(&["status"]), ["late"], "nothing is expected of a paused job");
    assert_eq!(kinds(&["status", "--max-lag", "36500d"]), [""; 0]);
    assert!(site.run(&["status"]).out.contains("2 registered, 1 paused\n"));
}

fn retry(site: &Site) {
    let site = Site::filled(site.kind);
    let said = site.says(&["retry", "--job", "digest", "--state", "dead", "--as", "ada"]);
    assert_eq!(said, format!("{DEAD}  lives again, generation 2\nretried 1 of 1\n"));
    let audit = site.json(&["executions", DEAD]);
    let last = audit["audit"].as_array().and_then(|events| events.last()).cloned().expect("events");
    assert_eq!((&last["action"], &last["actor"]["name"]), (&"job_requeue".into(), &"ada".into()));
    let again = site.run(&["retry", DEAD]);
    assert_eq!(again.code, 1);
    assert!(again.out.contains("has not ended: nothing to retry\nretried 0 of 1"), "{}", again.out);
    let wrong = site.run(&["retry", "--job", "digest", "--state", "running"]);
    assert_eq!(wrong.code, 2);
    assert!(wrong.err.contains("--state running: retry takes executions that have ended"), "{}", wrong.err);
}

fn cancel(site: &Site) {
    let site = Site::filled(site.kind);
    let said = site.says(&["cancel", "--job", "mail", "--state", "scheduled", "--state", "running"]);
    assert!(said.contains("0000000012  cancelled\n"), "{said}");
    assert!(said.contains("0000000011  its handler is asked to stop, with its next heartbeat\n"), "{said}");
    assert_eq!(site.json(&["queue", "mail"])["figures"]["cancelled"], 1);
    let none = site.run(&["cancel", "00000000-0000-0000-0000-0000000000ee", "--json"]);
    assert_eq!(none.code, 1);
    assert!(none.out.contains(r#""outcome":"not_found""#), "{}", none.out);
}

fn pause(site: &Site) {
    let site = Site::filled(site.kind);
    assert_eq!(site.says(&["pauses"]), "nothing is paused\n");
    let said = site.says(&["pause", "digest", "--as", "ada"]);
    assert_eq!(said, "`digest` is paused; `tourbillon resume` lets it go on\n");
    assert!(site.says(&["pause", "digest"]).starts_with("`digest` is paused already, since "));
    site.says(&["pause", "digest", "--scope", "tenant/acme"]);
    let jobs = site.json(&["jobs"]);
    assert!(jobs["jobs"][0]["paused_at"].is_string(), "{jobs}");
    assert!(site.says(&["jobs"]).contains("paused"));
    let said = site.says(&["resume", "digest", "--as", "bob"]);
    assert!(said.starts_with("`digest` goes on; it was paused "), "{said}");
    assert!(said.ends_with("still paused: `digest` for tenant/acme\n"), "{said}");
    assert_eq!(site.run(&["resume", "digest"]).code, 1, "it is not paused any more");
    let all = site.json(&["pauses", "--all"]);
    let lifted = &all["pauses"][1];
    assert_eq!((&lifted["paused_by"], &lifted["resumed_by"]), (&"ada".into(), &"bob".into()));
    let missed = site.json(&["missed", "--job", "digest"]);
    let told: Vec<_> = missed["entries"].as_array().expect("entries").iter().map(|e| &e["slots"]["reason"]).collect();
    assert!(told.contains(&&Value::from("paused")), "{told:?}");

    assert!(site.run(&["pause", "digset"]).err.contains("did you mean `digest`?"));
    assert!(site.run(&["pause", "mail"]).err.contains("`mail` is a queue"));
    let never = site.run(&["pause", "digest", "--scope", "tenant/acem"]);
    assert!(never.err.contains("`digest` was never planned for tenant/acem"), "{}", never.err);
}

fn trigger(site: &Site) {
    let site = Site::filled(site.kind);
    let id = "00000000-0000-0000-0000-000000000009";
    let wish = ["trigger", "digest", "--scope", "tenant/acme", "--as", "ada", "--id", id];
    assert!(site.says(&wish).starts_with(&format!("{id}  is due now")));
    let again = site.run(&wish);
    assert_eq!((again.code, again.out.as_str()), (1, format!("{id}  was made before: nothing was done\n").as_str()));
    let one = site.json(&["executions", id]);
    let row = &one["executions"][0];
    assert_eq!(
        (&row["slot_at"], &row["policy"]["max_attempts"], &row["state"]),
        (&Value::Null, &3.into(), &"scheduled".into())
    );
    assert_eq!(row["policy"]["limit"]["key"], r#"["digest","tenant","acme"]"#);
    assert_eq!(
        (&one["audit"][0]["action"], &one["audit"][0]["actor"]["name"]),
        (&"job_trigger".into(), &"ada".into())
    );
    assert!(site.json(&["trigger", "digest", "--scope", "tenant/globex"])["id"].is_string());
    assert!(site.run(&["trigger", "digest"]).err.contains("was never planned for global/global"));
    assert!(site.run(&["trigger", "mail"]).err.contains("`mail` is a queue"));
}

fn schedules(site: &Site) {
    let site = Site::filled(site.kind);
    site.register_stored("export");
    let acme = ["--scope", "tenant/acme", "--as", "ada"];
    let set = |when: &[&str]| site.run(&[&["schedules", "set", "export"], &acme[..], when].concat());
    assert_eq!(site.says(&["schedules", "list"]), "the database keeps no schedule\n");
    let said = set(&["--every", "15m", "--expect", "none", "--note", "ticket 4711"]).out;
    let begun = "`export` for tenant/acme runs every 900s from now on (revision 1); the next slot is 2";
    assert!(said.starts_with(begun), "{said}");
    let same = "`export` for tenant/acme runs every 900s already (revision 1)\n";
    assert_eq!(set(&["--every", "900s"]).out, same);
    let late = set(&["--every", "1h", "--expect", "none"]);
    let in_force = "nothing was changed: revision 1 is in force for `export` for tenant/acme; \
        `tourbillon schedules list --job export --all` says who did that\n";
    assert_eq!((late.code, late.out.as_str()), (1, in_force));
    let cron = ["--cron", "30 2 * * *", "--zone", "europe/berlin", "--gap", "skip", "--expect", "1"];
    assert!(set(&cron).out.contains("runs 30 2 * * * Europe/Berlin from now on (revision 2)"));
    let listed = site.says(&["schedules", "list"]);
    assert!(listed.contains("30 2 * * * Europe/Berlin") && !listed.contains("900s"), "{listed}");

    let removal = [&["schedules", "remove", "export"], &acme[..]].concat();
    assert_eq!(site.run(&[&removal[..], &["--expect", "1"]].concat()).code, 1);
    let gone = "`export` for tenant/acme makes no more slots (revision 3); what waits or runs goes on\n";
    assert_eq!(site.says(&removal), gone);
    assert_eq!(site.run(&removal).code, 1, "it is gone");
    let all = site.json(&["schedules", "list", "--job", "export", "--all"]);
    let told = |of: &str| {
        let edits = all["schedules"].as_array().expect("a list").iter();
        edits.map(|edit| edit[of].clone()).collect::<Vec<_>>()
    };
    assert_eq!(told("edited_by"), ["ada", "ada", "ada"]);
    assert_eq!(told("note"), [Value::from("ticket 4711"), Value::Null, Value::Null]);
    assert_eq!(told("schedule")[2], Value::Null, "a removal");
    assert!(told("edited_at")[0].is_string() && told("replaced_at")[2].is_null());

    for (wrong, expected) in [
        (&["schedules", "set", "digest", "--every", "1h"][..], "`digest` has its schedule from its program"),
        (&["schedules", "set", "exprot", "--every", "1h"], "did you mean `export`?"),
        (&["schedules", "remove", "mail"], "`mail` is a queue: only jobs have schedules"),
        (&["schedules", "set", "export", "--cron", "0 25 * * *", "--zone", "UTC"], "the hour field is `25`"),
        (&["schedules", "set", "export", "--cron", "0 8 * * *"], "--zone"),
        (&["schedules", "set", "export", "--every", "1h", "--expect", "0"], "a revision is a number from 1"),
    ] {
        let said = site.run(wrong);
        assert_eq!(said.code, 2, "{wrong:?}: {}", said.out);
        assert!(said.err.contains(expected), "{wrong:?}: {}", said.err);
    }
}

fn prune(site: &Site) {
    let site = Site::filled(site.kind);
    let early = site.run(&["prune", "--older-than", "1m"]);
    assert_eq!(early.code, 2);
    assert!(early.err.contains("at least 1h"), "{}", early.err);
    assert!(site.says(&["prune", "--older-than", "36500d"]).starts_with("deleted 0 executions"));
    let said = site.says(&["prune", "--older-than", "1h"]);
    assert!(said.starts_with("deleted 2 executions, 2 missed slots, "), "{said}");
    assert_eq!(site.json(&["executions"])["executions"].as_array().map(Vec::len), Some(2), "live ones stay");

    site.register_stored("export");
    for every in ["1h", "2h"] {
        site.says(&["schedules", "set", "export", "--every", every]);
    }
    site.says(&["pause", "digest"]);
    site.says(&["resume", "digest"]);
    let kept = site.says(&["prune", "--older-than", "36500d"]);
    assert!(kept.ends_with("0 edits of schedules, 0 lifted pauses\n"), "{kept}");
    let said = site.says(&["prune", "--older-than", "36500d", "--edits-older-than", "1ms"]);
    assert!(said.ends_with("1 edits of schedules, 1 lifted pauses\n"), "{said}");
    assert_eq!(site.json(&["schedules", "list", "--all"])["schedules"].as_array().map(Vec::len), Some(1));
}

fn serve(site: &Site) {
    let site = Site::filled(site.kind);
    let mut server = site.begin(&["serve", "--listen", "127.0.0.1:0", "--json"]);
    let told: Value = serde_json::from_str(&server.line()).expect("one line of JSON");
    assert_eq!(told["may_act"], false);
    let address = told["url"].as_str().and_then(|url| Some(url.strip_prefix("http://")?.trim_end_matches('/')));
    let address = address.expect("a URL").to_owned();
    let get = |path: &str, host: &str| get(&address, path, host);
    assert!(get("/healthz", &address).starts_with("HTTP/1.1 200"));
    assert!(get("/readyz", &address).contains(r#""is_ready":true"#));
    let page = get("/", "localhost");
    assert!(
        page.contains("content-security-policy: default-src 'none'") && page.contains("data-acts=\"no\""),
        "{page}"
    );
    assert!(get("/api/overview", &address).contains(r#""job":"digest""#));
    assert!(get("/metrics", &address).contains("tourbillon_job_stale_scopes{job=\"digest\"} 2\n"));
    assert!(get("/api/overview", "evil.example").starts_with("HTTP/1.1 421"), "a name that somebody else gave it");
    drop(server);
    let wrong = run(&["serve", "--listen", "here", "--database", &site.url]);
    assert_eq!(wrong.code, 2);
}

fn get(address: &str, path: &str, host: &str) -> String {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(address).expect("it listens");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers and closes");
    answer
}

fn unknown(site: &Site) {
    let site = Site::filled(site.kind);
    for command in [["executions", "--job", "digset"], ["missed", "--job", "digset"]] {
        let said = site.run(&command);
        assert_eq!(said.code, 2);
        assert_eq!(said.err, "error: there is no job or queue `digset`: did you mean `digest`?\n");
    }
    assert!(site.run(&["queue", "mial"]).err.contains("did you mean `mail`?"));
    assert!(site.run(&["jobs", "zzz"]).err.contains("`tourbillon jobs` and `tourbillon queue` list them"));
}

fn help() {
    let pages: [&[&str]; 4] = [&["--help"], &["executions", "--help"], &["retry", "--help"], &["prune", "--help"]];
    let said: String =
        pages.iter().map(|page| format!("$ tourbillon {}\n{}\n", page.join(" "), run(page).out)).collect();
    insta::with_settings!({snapshot_path => "snapshots", prepend_module_to_snapshot => false}, {
        insta::assert_snapshot!("help", said);
    });
}

fn wrong_urls() {
    let said = run(&["status"]);
    assert_eq!(said.code, 2);
    assert!(said.err.contains("give --database URL or set TOURBILLON_DATABASE_URL"), "{}", said.err);
    let said = run(&["jobs", "--database", "mysql://app:secret@db/app"]);
    assert_eq!(said.code, 2);
    assert!(said.err.contains("postgres://user@host:port/database or sqlite://") && !said.err.contains("secret"));
    let said = run(&["jobs", "--database", "postgres://app:secret@127.0.0.1:1/app"]);
    assert_eq!(said.code, 2);
    assert!(said.err.contains("127.0.0.1:1/app") && !said.err.contains("secret"), "{}", said.err);
}

fn missing_file() {
    let path = std::env::temp_dir().join(format!("tourbillon-ops-none-{}.db", std::process::id()));
    let said = run(&["status", "--database", &format!("sqlite://{}", path.display())]);
    assert_eq!(said.code, 2);
    assert!(said.err.contains("there is no file") && said.err.contains("tourbillon migrate"), "{}", said.err);
    assert!(!path.exists());
    let said = run(&["status", "--schema", "x", "--database", "sqlite://jobs.db"]);
    assert!(said.err.contains("--schema is for Postgres"), "{}", said.err);
}

/// The same text whatever the day and the database: ages are `#`, columns one space apart.
fn without_ages(text: &str) -> String {
    let is_age = |word: &str| {
        let word = word.trim_end_matches(';');
        let unit = word.trim_start_matches(|c: char| c.is_ascii_digit());
        unit.len() < word.len() && ["d", "h", "m", "s", "ms"].contains(&unit)
    };
    let line = |line: &str| {
        if line.starts_with("database ") {
            return "database #".to_owned();
        }
        if line.starts_with("its clock ") {
            return "its clock #".to_owned();
        }
        let mut words: Vec<&str> = Vec::new();
        for word in line.split_whitespace() {
            let ago = if is_age(word) { "#" } else { word };
            if ago != "#" || words.last() != Some(&"#") {
                words.push(ago);
            }
        }
        words.join(" ")
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}
