//! The dashboard in a real browser, over real databases: that what is on the screen is what is stored, follows it, runs none of
//! it, and that keys and buttons do what they say.

mod scene;

use std::{fs, path::Path};

use libtest_mimic::{Arguments, Trial};
use serde_json::Value;
use tourbillon_tests::{
    browser::{Browser, absent, key},
    cluster::Cluster,
    conformance::trial,
};

use scene::{Doors, HOSTILE, Kind, Names, Scene};

/// Argument with which this program takes the pictures of the documentation anew, into the folder that follows.
const PICTURES: &str = "--pictures";

type Case = (&'static str, fn(Kind));

const CASES: &[Case] = &[
    ("shows_what_is_stored_and_runs_none_of_it", shows),
    ("follows_what_changes_until_it_is_stopped", follows),
    ("keys_go_through_views_and_rows", keys),
    ("a_change_is_asked_for_and_made_under_the_actor_s_name", changes),
    ("a_schedule_is_edited_in_a_form_that_shows_its_slots", edits_schedules),
    ("without_leave_nothing_is_changed", read_only),
];

fn main() {
    if let Some(folder) = std::env::args().skip_while(|argument| argument != PICTURES).nth(1) {
        return take_pictures(Path::new(&folder));
    }
    let no_server = Cluster::available().err().map(|error| error.reason);
    let mut trials: Vec<Trial> = Vec::new();
    for (kind, name, no_store) in [(Kind::Sqlite, "sqlite", None), (Kind::Postgres, "postgres", no_server)] {
        for &(case, run) in CASES {
            let absent = absent().or_else(|| no_store.clone());
            trials.push(trial(format!("{name}::{case}"), absent.as_deref(), move || run(kind)));
        }
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn state(browser: &Browser) -> Value {
    browser.script("return dashboard.state();")
}

/// What a view says when it has been looked at.
fn seen(browser: &Browser, scene: &Scene, view: &str) -> String {
    browser.visit(&format!("{}#/{view}", scene.url));
    browser.until("dashboard.looks > 0 && !dashboard.busy && dashboard.data !== undefined");
    let said = browser.script("return document.getElementById('view').innerText;");
    said.as_str().expect("a text").to_owned()
}

/// Opens a page whose first look is over.
fn opened(scene: &Scene, view: &str) -> Browser {
    let browser = Browser::start();
    browser.visit(&format!("{}#/{view}", scene.url));
    browser.until("dashboard.looks > 0");
    browser
}

fn go(browser: &Browser, view: &str) -> String {
    let looks = state(browser)["looks"].as_u64().expect("a count");
    browser.script(&format!("location.hash = '#/{view}'; return 0;"));
    browser.until(&format!("dashboard.looks > {looks} && !dashboard.busy"));
    let said = browser.script("return document.getElementById('view').innerText;");
    said.as_str().expect("a text").to_owned()
}

fn shows(kind: Kind) {
    let scene = Scene::new(kind, Doors::ReadOnly, Names::Hostile);
    let browser = Browser::start();
    let jobs = seen(&browser, &scene, "jobs");
    for text in ["invoice_reminders", "0 8 * * * Europe/Berlin", "fetch_rates", "every 600s", HOSTILE] {
        assert!(jobs.contains(text), "no `{text}` in {jobs}");
    }
    let reminders = go(&browser, "job/invoice_reminders");
    assert!(reminders.contains("tenant/globex") && reminders.contains("fresh"), "{reminders}");
    assert!(!reminders.contains("kept in the database"), "its schedule is in its program: {reminders}");
    scene.put_schedule("30 2 * * *", HOSTILE);
    let export = go(&browser, "job/warehouse_export");
    for text in ["kept in the database", "tenant/acme", "30 2 * * * Europe/Berlin", "ada", HOSTILE] {
        assert!(export.contains(text), "no `{text}` in {export}");
    }
    let hostile =
        go(&browser, &format!("job/{}", HOSTILE.replace('<', "%3C").replace('\'', "%27").replace('=', "%3D")));
    assert!(hostile.contains(HOSTILE) && hostile.contains("<b>/'\"&lt;"), "{hostile}");
    let dead = go(&browser, "executions?state=dead");
    assert!(dead.contains("sync_ledger") && dead.contains("550 no such mailbox"), "{dead}");
    assert_eq!(state(&browser)["rows"], 5, "four letters and a ledger: {dead}");
    let queues = go(&browser, "queues");
    assert!(queues.contains("mail") && queues.contains("render"), "{queues}");
    let mail = go(&browser, "queue/mail");
    assert!(mail.contains("succeeded\n20") && mail.contains("dead\n4") && mail.contains("scheduled\n40"), "{mail}");
    scene.limit();
    go(&browser, "queues");
    // What is shown of all queues may be a look of before.
    browser.until("document.getElementById('view').innerText.includes('every 1h limited next in 59m')");
    let sms = go(&browser, "executions?job=sms&state=running");
    assert!(sms.contains("25 %, page 3 of 12; lease ends in"), "{sms}");
    go(&browser, "locks");
    // Its replica campaigns some time after its start.
    browser.until("/news\\s+held\\s+1/.test(document.getElementById('view').innerText)");
    let page = go(&browser, "executions?job=sync_ledger");
    assert!(page.contains("dead"), "{page}");
    browser.script("document.querySelector('main tbody tr').click(); return 0;");
    browser.until("dashboard.name === 'execution' && document.querySelectorAll('main tbody tr').length === 4");
    let one = browser.script("return document.getElementById('view').innerText;");
    let one = one.as_str().expect("a text");
    assert!(one.contains("<script>boom()</script>"), "the error is shown as it is: {one}");
    let actions: Vec<_> =
        ["schedule", "claim", "start", "dead"].into_iter().filter(|name| one.contains(name)).collect();
    assert_eq!(actions.len(), 4, "its history: {one}");
    assert_eq!(browser.script("return document.querySelectorAll('main img, main script, main b').length;"), 0);
    let fetched = browser.script(
        "return performance.getEntriesByType('resource').filter((r) => new URL(r.name).host !== location.host).length;",
    );
    assert_eq!(fetched, 0, "something was fetched from elsewhere");
    assert_eq!(browser.script("return document.title;"), "invoices, staging");
    assert_eq!(browser.console(), [""; 0], "the page complains");
}

fn follows(kind: Kind) {
    let scene = Scene::new(kind, Doors::ReadOnly, Names::Hostile);
    let browser = opened(&scene, "queues");
    assert_eq!(state(&browser)["rows"], 2);
    browser.script("document.querySelector('main tbody tr').focus(); return 0;");
    scene.enqueue_one();
    browser.until("document.getElementById('view').innerText.includes('late_news')");
    let focused = browser.script("return document.activeElement.innerText;");
    assert!(focused.as_str().is_some_and(|row| row.starts_with("mail")), "the focus stays where it was: {focused}");
    browser.press(" ");
    assert_eq!(state(&browser)["live"], false);
    browser.until("!dashboard.busy");
    let looks = state(&browser)["looks"].clone();
    for _ in 0..100 {
        browser.drawn();
    }
    assert_eq!(state(&browser)["looks"], looks, "stopped is stopped");
    browser.press(" ");
    browser.until(&format!("dashboard.looks > {looks}"));
    assert_eq!(browser.console(), [""; 0], "the page complains");
}

fn keys(kind: Kind) {
    let scene = Scene::new(kind, Doors::ReadOnly, Names::Hostile);
    let browser = opened(&scene, "jobs");
    browser.press("jj");
    assert_eq!(state(&browser)["focused"], 1);
    browser.press("k");
    assert_eq!(state(&browser)["focused"], 0);
    browser.press("/");
    browser.press("berlin remind");
    assert_eq!(state(&browser)["rows"], 1, "one row has both words");
    browser.press(key::ENTER);
    browser.press(key::ENTER);
    browser.until("dashboard.name === 'job' && dashboard.data");
    browser.press(key::ESCAPE);
    browser.until("dashboard.name === 'jobs'");
    browser.press("/");
    browser.press(key::ESCAPE);
    assert_eq!(state(&browser)["rows"], 5, "no filter, all jobs");
    browser.press("2");
    browser.until("dashboard.name === 'executions' && dashboard.data");
    assert_eq!(state(&browser)["rows"], 50, "a page");
    browser.press("n");
    browser.until("location.hash.includes('after') && dashboard.data");
    assert_eq!(state(&browser)["rows"], 25, "the rest of 75");
    browser.press("?");
    assert_eq!(browser.script("return document.getElementById('keys').open;"), true);
    browser.press(key::ESCAPE);
    assert_eq!(browser.script("return document.getElementById('keys').open;"), false);
    browser.prefer("dark");
    browser.until("dashboard.state().theme === 'dark'");
    browser.press("t");
    assert_eq!(state(&browser)["theme"], "light");
    browser.prefer("light");
    browser.prefer("dark");
    browser.drawn();
    assert_eq!(state(&browser)["theme"], "light", "what a person chose holds");
    assert_eq!(browser.console(), [""; 0], "the page complains");
}

fn press_button(browser: &Browser, label: &str) {
    let found = browser.script(&format!(
        "const button = [...document.querySelectorAll('main button')].find((b) => b.textContent === '{label}');
         button?.click(); return !!button;"
    ));
    assert_eq!(found, true, "no button `{label}`");
}

fn changes(kind: Kind) {
    let scene = Scene::new(kind, Doors::Actions, Names::Hostile);
    let browser = opened(&scene, "job/fetch_rates");
    browser.until("dashboard.data");
    press_button(&browser, "pause");
    let question = browser.script("return document.getElementById('question').textContent;");
    assert!(question.as_str().expect("a text").starts_with("Stop fetch_rates on all replicas?"), "{question}");
    browser.script("document.querySelector('#ask [value=no]').click(); return 0;");
    assert_eq!(state(&browser)["trouble"], "", "no is no");
    press_button(&browser, "pause");
    // The end of the dialog before may be told as late as this; it was taken for a second yes.
    let yes = "const dialog = document.getElementById('ask'); dialog.querySelector('[value=yes]').click();
        dialog.dispatchEvent(new Event('close')); return 0;";
    browser.script(yes);
    browser.until("dashboard.state().trouble === '`fetch_rates` is paused'");
    browser.until("document.querySelector('main .bar').innerText.includes('resume')");
    let pauses = go(&browser, "pauses");
    assert!(
        pauses.contains("fetch_rates") && pauses.contains("dashboard") && pauses.contains("in force"),
        "{pauses}"
    );
    go(&browser, "executions?state=dead&job=sync_ledger");
    browser.script("document.querySelector('main tbody tr').click(); return 0;");
    browser.until("dashboard.name === 'execution' && document.querySelector('main .bar button')");
    press_button(&browser, "retry");
    browser.script("document.querySelector('#ask [value=yes]').click(); return 0;");
    browser.until("document.getElementById('view').innerText.includes('requeue')");
    browser.until("document.getElementById('view').innerText.includes('1: dead, 2: dead')");
    assert_eq!(browser.console(), [""; 0], "the page complains");

    let change = r#"{"job":"invoice_reminders"}"#;
    let asked = |headers: &str| {
        let length = change.len();
        let request = format!(
            "POST /jobs/api/pause HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\nContent-Type: application/json\r\n\
             {headers}Content-Length: {length}\r\n\r\n{change}"
        );
        scene.http(&request).lines().next().unwrap_or_default().to_owned()
    };
    assert_eq!(asked(""), "HTTP/1.1 403 Forbidden", "a form of another page");
    let foreign = "X-Tourbillon-Action: 1\r\nOrigin: http://evil.example\r\n";
    assert_eq!(asked(foreign), "HTTP/1.1 403 Forbidden");
    assert_eq!(asked("X-Tourbillon-Action: 1\r\n"), "HTTP/1.1 200 OK", "a program");
}

/// Types into a field of the form, as far as the page can tell.
fn fill(browser: &Browser, field: &str, value: &str) {
    browser.script(&format!(
        "const field = document.querySelector('#edit form').elements['{field}'];
         field.value = '{value}'; field.dispatchEvent(new Event('input', {{ bubbles: true }})); return 0;"
    ));
}

fn previewed(browser: &Browser) -> String {
    let text = browser.script("return document.getElementById('preview').textContent;");
    text.as_str().expect("a text").to_owned()
}

fn edits_schedules(kind: Kind) {
    let scene = Scene::new(kind, Doors::Actions, Names::Hostile);
    scene.put_schedule("30 2 * * *", HOSTILE);
    let browser = opened(&scene, "job/warehouse_export");
    browser.until("dashboard.data");
    press_button(&browser, "edit");
    let is_shown = "document.getElementById('preview').textContent.includes('next 20')";
    let is_refused = "document.getElementById('preview').className === 'bad'";
    let save = || browser.script("document.querySelector('#edit [name=save]').click(); return 0;");
    browser.until(is_shown);
    let shown = previewed(&browser);
    assert!(shown.starts_with("30 2 * * * Europe/Berlin: next 20"), "{shown}");
    assert_eq!(shown.matches(":30:00Z").count(), 3, "its next slots: {shown}");
    fill(&browser, "cron", "61 2 * * *");
    browser.until(is_refused);
    let refused = previewed(&browser);
    assert!(refused.contains("61"), "{refused}");
    // Somebody else is faster.
    fill(&browser, "cron", "0 6 * * *");
    browser.until(is_shown);
    scene.put_schedule("45 2 * * *", "mine");
    save();
    browser.until(is_refused);
    let refused = previewed(&browser);
    let expected = "`warehouse_export` for tenant/acme was edited meanwhile: revision 2 is in force, and nothing was changed. \
        Save once more to put this in its place";
    assert_eq!(refused, expected);
    // What an earlier form still asks for is not shown in the next one, nor saved by it.
    fill(&browser, "cron", "7 7 * * *");
    browser.press(key::ESCAPE);
    press_button(&browser, "new schedule");
    browser.script("return new Promise((done) => setTimeout(done, 400));");
    assert_eq!(previewed(&browser), "give a pattern, for example 0 8 * * mon-fri");
    fill(&browser, "scope", "tenant/acme");
    fill(&browser, "every", "-1");
    fill(&browser, "cron", "0 6 * * *");
    fill(&browser, "gap", "skip");
    fill(&browser, "note", "earlier");
    browser.until(is_shown);
    save();
    browser.until(is_refused);
    let refused = previewed(&browser);
    assert!(refused.contains("has a schedule already, as revision 2"), "{refused}");
    // A revision of one scope is none of another's, and the form can be typed in while an answer is awaited.
    scene.put_schedule_for("globex", "15 3 * * *", "first");
    scene.put_schedule_for("globex", "16 3 * * *", "second");
    fill(&browser, "scope", "tenant/globex");
    save();
    fill(&browser, "note", "sooner");
    browser.until("document.getElementById('preview').textContent.includes('tenant/globex has a schedule already, as revision 2')");
    assert_eq!(browser.script("return document.querySelector('#edit [name=save]').disabled;"), false);
    fill(&browser, "scope", "tenant/acme");
    fill(&browser, "note", "earlier");
    save();
    browser.until("document.getElementById('preview').textContent.includes('tenant/acme has a schedule already')");
    save();
    let done = "`warehouse_export` for tenant/acme runs 0 6 * * * UTC from now on, as revision 3";
    browser.until(&format!("dashboard.state().trouble === '{done}'"));
    browser.until("document.getElementById('view').innerText.includes('0 6 * * * UTC, skipped times: skip')");

    press_button(&browser, "new schedule");
    fill(&browser, "kind", "every");
    fill(&browser, "every", "15");
    browser.until(is_shown);
    save();
    browser.until(is_refused);
    let refused = previewed(&browser);
    assert!(refused.starts_with("a scope is written kind/id"), "{refused}");
    fill(&browser, "scope", "tenant/initech");
    browser.press(key::ENTER);
    browser.until("document.getElementById('view').innerText.includes('every 900s')");

    let edits = go(&browser, "edits?job=warehouse_export&kind=tenant&id=acme");
    for text in ["30 2 * * *", "45 2 * * *", "0 6 * * *", "ada", "dashboard", "earlier", HOSTILE, "in force"] {
        assert!(edits.contains(text), "no `{text}` in {edits}");
    }
    let newest = browser.script("return [...document.querySelectorAll('main tbody tr')].at(-1).innerText;");
    assert!(newest.as_str().is_some_and(|row| row.starts_with('3') && row.contains("in force")), "{newest}");
    assert_eq!(browser.script("return document.querySelectorAll('main img, main script, main b').length;"), 0);

    go(&browser, "job/warehouse_export");
    press_button(&browser, "edit");
    browser.until(is_shown);
    let gap = browser.script("return document.querySelector('#edit form').elements.gap.value;");
    assert_eq!(gap, "skip", "what was chosen is not lost");
    browser.script("document.querySelector('#edit [name=cancel]').click(); return 0;");
    press_button(&browser, "remove");
    browser.script("document.querySelector('#ask [value=yes]').click(); return 0;");
    browser.until("dashboard.state().trouble.includes('tenant/acme has no schedule from now on, as of revision 4')");
    browser.until("!document.getElementById('view').innerText.includes('0 6 * * *')");
    assert_eq!(browser.console(), [""; 0], "the page complains");
}

fn read_only(kind: Kind) {
    let scene = Scene::new(kind, Doors::ReadOnly, Names::Hostile);
    let browser = opened(&scene, "job/fetch_rates");
    browser.until("dashboard.data");
    assert_eq!(browser.script("return document.querySelectorAll('main button').length;"), 0, "it offers no change");
    let told = browser.script(
        "return ask('pause', {}, { job: 'fetch_rates' }).then(() => 'it was done', (error) => error.message);",
    );
    assert!(told.as_str().expect("a text").contains("changes nothing"), "{told}");
    let pauses = go(&browser, "pauses");
    assert!(pauses.contains("Nothing was ever paused"), "{pauses}");
    let metrics = scene.http("GET /jobs/metrics HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n");
    for line in [
        "tourbillon_job_stale_scopes{job=\"fetch_rates\"} 0",
        "tourbillon_queue_items{queue=\"mail\",state=\"scheduled\"} 40",
    ] {
        assert!(metrics.contains(line), "no `{line}` in {metrics}");
    }
    let ready = scene.http("GET /jobs/readyz HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n");
    assert!(ready.starts_with("HTTP/1.1 200") && ready.contains(r#""is_ready":true"#), "{ready}");
}

/// (file, view, what the system prefers).
const TAKEN: [(&str, &str, &str); 4] = [
    ("dashboard-jobs.png", "jobs", "light"),
    ("dashboard-execution.png", "execution", "dark"),
    ("dashboard-schedule.png", "schedule", "light"),
    ("dashboard-executions.png", "executions?state=dead,running,succeeded", "light"),
];

fn take_pictures(folder: &Path) {
    let scene = Scene::new(Kind::Sqlite, Doors::Actions, Names::Plain);
    scene.pause("rotate_keys");
    scene.put_schedule("30 2 * * *", "as agreed with the warehouse");
    for (file, view, scheme) in TAKEN {
        let browser = Browser::start();
        browser.prefer(scheme);
        if view == "execution" {
            seen(&browser, &scene, "executions?job=sync_ledger");
            browser.until("document.querySelector('main tbody tr')");
            browser.script("document.querySelector('main tbody tr').click(); return 0;");
            browser.until("dashboard.name === 'execution' && dashboard.data");
        } else if view == "schedule" {
            seen(&browser, &scene, "job/warehouse_export");
            press_button(&browser, "edit");
            fill(&browser, "cron", "30 2 * * mon-fri");
            fill(&browser, "note", "the plant rests at weekends");
            browser.until("document.getElementById('preview').textContent.includes('next 20')");
        } else {
            seen(&browser, &scene, view);
        }
        browser.until("/1 of 1 locks held/.test(document.getElementById('verdict').textContent)");
        browser.drawn();
        fs::write(folder.join(file), browser.picture()).expect("the folder is there");
    }
}
