//! The router as programs see it: probes, refusals, pages of answers. What people see is tested in a browser.

use std::time::Duration;

use serde_json::Value;
use tourbillon::{
    driver::{ScheduleEdit, Scheduler},
    job::{Context, HandlerError, Job},
    model::{JobName, OperatorName, Scope, Timestamp},
    plan::{Cadence, Schedule},
    runtime::Runtime,
    store::{ManualClock, MemoryStore, PutOutcome},
};
use tourbillon_web::{
    Access, Web,
    axum::{
        Router,
        body::{Body, to_bytes},
        http::{Method, Request, StatusCode},
    },
};
use tower::ServiceExt as _;

const MOST: usize = 1 << 20;

fn web() -> Web {
    Web::new(MemoryStore::new(ManualClock::new(Timestamp::from_secs(1_000))), Runtime::tokio())
}

async fn send(router: &Router, request: Request<Body>) -> (StatusCode, String) {
    let response = router.clone().oneshot(request).await.expect("it always answers");
    let status = response.status();
    let bytes = to_bytes(response.into_body(), MOST).await.expect("a small answer");
    (status, String::from_utf8(bytes.to_vec()).expect("UTF-8"))
}

async fn get(router: &Router, path: &str) -> (StatusCode, Value) {
    let request = Request::get(path).header("host", "localhost").body(Body::empty()).expect("a request");
    let (status, text) = send(router, request).await;
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

async fn post(router: &Router, path: &str, body: &str) -> (StatusCode, Value) {
    let request = Request::builder().method(Method::POST).uri(path).header("x-tourbillon-action", "1");
    let request = request.header("content-type", "application/json").body(Body::from(body.to_owned()));
    let (status, text) = send(router, request.expect("a request")).await;
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

#[tokio::test]
async fn probes_answer_those_who_may_not_look() {
    let router = web().authorize(|_| Access::Denied).router();
    assert_eq!(get(&router, "/healthz").await.0, StatusCode::OK);
    assert_eq!(get(&router, "/readyz").await.0, StatusCode::OK);
    for path in ["/", "/metrics", "/api/overview", "/api/executions"] {
        let (status, answer) = get(&router, path).await;
        assert_eq!((status, &answer["error"]), (StatusCode::UNAUTHORIZED, &"not for you: sign in".into()), "{path}");
    }
}

#[tokio::test]
async fn a_schema_that_is_missing_is_not_ready_and_says_what_to_run() {
    let store = MemoryStore::unmigrated(ManualClock::new(Timestamp::EPOCH));
    let router = Web::new(store, Runtime::tokio()).router();
    let (status, answer) = get(&router, "/readyz").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer["why"].as_str().is_some_and(|why| why.contains("tourbillon migrate")), "{answer}");
    assert_eq!(get(&router, "/healthz").await.0, StatusCode::OK, "the process is alive");
    let (status, metrics) = get(&router, "/metrics").await;
    let metrics = metrics.as_str().expect("a text");
    assert!(status == StatusCode::OK && metrics.contains("tourbillon_database_up 0"), "{metrics}");
}

#[tokio::test]
async fn another_name_is_refused_before_anything_is_read() {
    let router = web().hosts(["localhost", "[::1]"]).router();
    for (host, expected) in [
        ("localhost", StatusCode::OK),
        ("LOCALHOST:9480", StatusCode::OK),
        ("[::1]:9480", StatusCode::OK),
        ("localhost.evil.example", StatusCode::MISDIRECTED_REQUEST),
        ("evil.example:9480", StatusCode::MISDIRECTED_REQUEST),
    ] {
        let request = Request::get("/api/overview").header("host", host).body(Body::empty()).expect("a request");
        assert_eq!(send(&router, request).await.0, expected, "{host}");
    }
    let nameless = Request::get("/api/overview").body(Body::empty()).expect("a request");
    assert_eq!(send(&router, nameless).await.0, StatusCode::MISDIRECTED_REQUEST);
}

#[tokio::test]
async fn a_change_needs_leave_of_the_owner_and_of_the_check() {
    let pause = r#"{"job":"digest"}"#;
    let ada = || OperatorName::new("ada").expect("a name");
    for path in ["pause", "resume", "trigger", "put_schedule", "remove_schedule", "retry", "cancel"] {
        let path = format!("/api/{path}");
        let body = if path.ends_with('y') || path.ends_with("cel") { r#"{"ids":[]}"# } else { pause };
        let (status, answer) = post(&web().router(), &path, body).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{path}: {answer}");
        let (status, _) = post(&web().authorize(move |_| Access::Act(ada())).router(), &path, body).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{path}: the check cannot allow what the owner did not");
        let reader = web().allow_actions().authorize(|_| Access::Read).router();
        assert_eq!(post(&reader, &path, body).await.0, StatusCode::FORBIDDEN, "{path}");
    }
    let (status, answer) = post(&web().allow_actions().router(), "/api/pause", pause).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!((&answer["done"], &answer["text"]), (&false.into(), &"there is no job `digest`".into()));
}

#[tokio::test]
async fn what_cannot_be_understood_says_what_to_write() {
    let router = web().allow_actions().router();
    for (path, words) in [
        ("/api/executions?state=lost", "there is no state `lost`: there are scheduled,"),
        ("/api/executions?scope_kind=tenant", "give `scope_kind` and `scope_id`"),
        ("/api/executions?after=here", "`after` is what the page before gave as `next`"),
        ("/api/schedules?after=here", "`after` is what the page before gave as `next`"),
        ("/api/execution?id=7", "`7` is no id of an execution"),
        ("/api/scopes", "add ?job=NAME"),
        ("/api/missed?job=%20", "blank"),
    ] {
        let (status, answer) = get(&router, path).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path}: {answer}");
        assert!(answer["error"].as_str().is_some_and(|error| error.contains(words)), "{path}: {answer}");
    }
    let (status, answer) = post(&router, "/api/retry", "{}").await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{answer}");
    assert!(answer["error"].as_str().is_some_and(|error| error.contains("ids")), "{answer}");
}

#[tokio::test]
async fn schedules_of_the_database_are_told_in_words_and_paged() {
    let store = MemoryStore::new(ManualClock::new(Timestamp::from_secs(1_000)));
    let job = Job::new("export").stored_schedules().run(|_: Context| async { Ok::<_, HandlerError>(()) });
    let scheduler = Scheduler::builder(store.clone()).job(job).build().expect("a job").start();
    let operator = scheduler.jobs().named("ada").expect("a name");
    let every = Schedule::from(Cadence::new(Duration::from_secs(900)).expect("a grid"));
    for id in ["a", "b", "a/c"] {
        let edit = || ScheduleEdit::of("export", Scope::new("tenant", id).expect("a scope"));
        while operator.put_schedule(edit(), &every).await == Ok(PutOutcome::UnknownJob) {
            tokio::task::yield_now().await;
        }
    }
    let router = Web::new(store, Runtime::tokio()).router();
    let (mut after, mut seen) = (String::new(), Vec::new());
    loop {
        let (status, page) = get(&router, &format!("/api/schedules?job=export&limit=2{after}")).await;
        assert_eq!(status, StatusCode::OK, "{page}");
        for entry in page["schedules"].as_array().expect("a list") {
            assert_eq!((&entry["words"], &entry["stored"]["edited_by"]), (&"every 900s".into(), &"ada".into()));
            assert_eq!(entry["stored"]["edited_at"], "1970-01-01T00:16:40Z");
            seen.push(entry["stored"]["scope"]["id"].as_str().expect("a text").to_owned());
        }
        let Some(next) = page["next"].as_str() else { break };
        let encoded: String = next.bytes().map(|byte| format!("%{byte:02X}")).collect();
        after = format!("&after={encoded}");
    }
    assert_eq!(seen, ["a", "a/c", "b"]);
    assert_eq!(get(&router, "/api/schedules?all=true").await.1["schedules"].as_array().map(Vec::len), Some(3));
    let one = get(&router, "/api/schedules?scope_kind=tenant&scope_id=b").await.1;
    assert_eq!(one["schedules"].as_array().map(Vec::len), Some(1), "{one}");
    assert_eq!(one["schedules"][0]["when"]["every_us"], 900_000_000);
    scheduler.shutdown(Duration::from_secs(5)).await.expect("stopped");
}

#[tokio::test]
async fn schedules_of_the_database_are_edited_removed_and_previewed() {
    let store = MemoryStore::new(ManualClock::new(Timestamp::from_secs(1_000)));
    let well = |_: Context| async { Ok::<_, HandlerError>(()) };
    let scheduler = Scheduler::builder(store.clone())
        .job(Job::new("export").stored_schedules().run(well))
        .job(Job::new("digest").every(Duration::from_secs(86_400)).run(well));
    let scheduler = scheduler.build().expect("jobs").start();
    let router = Web::new(store, Runtime::tokio()).allow_actions().router();
    let put = |job: &str, rest: &str| {
        format!(r#"{{"job":"{job}","scope_kind":"tenant","scope_id":"a","when":{{"every_us":900000000}}{rest}}}"#)
    };
    while post(&router, "/api/put_schedule", &put("export", "")).await.1["done"] != true {
        tokio::task::yield_now().await;
    }
    let remove = |rest: &str| format!(r#"{{"job":"export","scope_kind":"tenant","scope_id":"a"{rest}}}"#);
    for (path, body, done, text) in [
        ("put", put("export", ""), false, "`export` for tenant/a runs every 900s already, as revision 1"),
        ("put", put("export", r#","expect":0"#), false, "has a schedule already, as revision 1: nothing was changed"),
        ("put", put("export", r#","expect":2"#), false, "was edited meanwhile: revision 1 is in force"),
        ("put", put("exprt", ""), false, "there is no job `exprt`"),
        ("put", put("digest", ""), false, "`digest` has its schedule from its program"),
        ("remove", remove(r#","expect":7"#), false, "was edited meanwhile: revision 1 is in force"),
        ("remove", remove(r#","expect":1,"note":" moved ""#), true, "as of revision 2"),
        ("remove", remove(""), false, "has no schedule here: nothing was removed"),
        ("put", put("export", r#","expect":2"#), false, "has no schedule any more: nothing was changed"),
    ] {
        let (status, answer) = post(&router, &format!("/api/{path}_schedule"), &body).await;
        assert_eq!((status, &answer["done"]), (StatusCode::OK, &done.into()), "{body}: {answer}");
        assert!(answer["text"].as_str().is_some_and(|told| told.contains(text)), "{body}: {answer}");
    }
    let long = format!(r#","note":"{}""#, "ß".repeat(600));
    for (body, text) in [
        (r#"{"job":"export","when":{"cron":"@daily","zone":"Mars"}}"#.to_owned(), "Mars"),
        (r#"{"job":"export"}"#.to_owned(), "give `when`"),
        (put("export", r#","expct":1"#), "unknown field `expct`"),
        (put("export", &long), "1024"),
    ] {
        let (status, answer) = post(&router, "/api/put_schedule", &body).await;
        assert!(status.is_client_error(), "{status}: {body}: {answer}");
        assert!(answer["error"].as_str().is_some_and(|error| error.contains(text)), "{body}: {answer}");
    }
    let (status, _) = post(&router, "/api/remove_schedule", &put("export", "")).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "a removal to something");

    // {"cron":"0 0 * * *","zone":"UTC"}
    let draft = "%7B%22cron%22%3A%220%200%20*%20*%20*%22%2C%22zone%22%3A%22UTC%22%7D";
    let (_, seen) = get(&router, &format!("/api/preview?when={draft}")).await;
    let days = ["1970-01-02T00:00:00Z", "1970-01-03T00:00:00Z", "1970-01-04T00:00:00Z"];
    assert_eq!((&seen["words"], &seen["next"]), (&"0 0 * * * UTC".into(), &Value::from(days.to_vec())));
    let (_, refused) = get(&router, "/api/preview?when=%7B%7D").await;
    assert!(refused["refused"].as_str().is_some_and(|why| why.contains("give one of the two")), "{refused}");
    assert_eq!(get(&router, "/api/preview?when=soon").await.0, StatusCode::BAD_REQUEST);
    scheduler.shutdown(Duration::from_secs(5)).await.expect("stopped");
}

#[tokio::test]
async fn a_title_is_escaped_and_the_recorder_is_heard() {
    let name = JobName::new("x").expect("a name");
    let router = web().titled("<b>").metrics_from(move || format!("own_total{{of=\"{name}\"}} 1\n")).router();
    let (_, page) = get(&router, "/").await;
    assert!(page.as_str().is_some_and(|page| page.contains("<title>&lt;b&gt;</title>")));
    let (_, metrics) = get(&router, "/metrics").await;
    assert!(metrics.as_str().is_some_and(|text| text.ends_with("own_total{of=\"x\"} 1\n")), "{metrics}");
}

#[tokio::test]
async fn it_answers_below_a_path_with_and_without_a_slash() {
    let nested = Router::new().nest("/jobs", web().router());
    assert_eq!(get(&nested, "/jobs").await.0, StatusCode::OK);
    assert_eq!(get(&nested, "/jobs/healthz").await.0, StatusCode::OK);
    let served = Router::new().nest_service("/jobs", web().router());
    assert_eq!(get(&served, "/jobs/").await.0, StatusCode::OK);
    // A look is shared for a second: two at once are one.
    let (first, second) = tokio::join!(get(&nested, "/jobs/api/overview"), get(&nested, "/jobs/api/overview"));
    assert_eq!(first.1["now"], second.1["now"]);
    assert_eq!(first.1["now"], Timestamp::EPOCH.offset_micros(1_000_000_000).to_string());
}
