//! A service with a past: a real scheduler on a real database, and the router beside it. Its handlers end at once, end badly,
//! or run for as long as the scene lasts.

use std::{path::PathBuf, sync::Arc, time::Duration};

use tourbillon::{
    driver::{JobOperator, Running, ScheduleEdit, Scheduler, Settings},
    job::{Completion, Context, HandlerError, Job},
    model::{Audit, Incarnation, Progress, Rate, RequestId, Scope, State, transition::Charge},
    plan::Cron,
    queue::{Enqueuer, ItemOptions, Queue},
    runtime::Runtime,
    service::{HaMode, Leadership, Pass, Service, Tick},
    store::{Claim, Heartbeat, ListRecent, PutOutcome, Store, ask},
};
use tourbillon_pg::PgStore;
use tourbillon_sqlite::SqliteStore;
use tourbillon_tests::cluster::Cluster;
use tourbillon_web::{Web, axum};

/// A job's name that would run in a page that took it for markup.
pub(crate) const HOSTILE: &str = r#"<img src=x onerror="document.title='owned'">"#;

const DAY: Duration = Duration::from_secs(86_400);

#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Sqlite,
    Postgres,
}

/// Who may change things through the router.
#[derive(Clone, Copy)]
pub(crate) enum Doors {
    ReadOnly,
    Actions,
}

/// How its jobs and scopes are called.
#[derive(Clone, Copy)]
pub(crate) enum Names {
    /// One so that it would run in a page that took it for markup.
    Hostile,
    /// As in most services.
    Plain,
}

pub(crate) struct Scene {
    /// Where the dashboard is.
    pub(crate) url: String,
    store: Arc<dyn Store>,
    running: Option<Running>,
    runtime: tokio::runtime::Runtime,
    folder: PathBuf,
}

impl Scene {
    /// A scene whose jobs have run.
    pub(crate) fn new(kind: Kind, doors: Doors, names: Names) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let folder = std::env::temp_dir().join(format!("tourbillon-web-{}", Runtime::tokio().uuid()));
        std::fs::create_dir_all(&folder).expect("a temporary folder");
        let (url, store, running) = runtime.block_on(async {
            let store: Arc<dyn Store> = match kind {
                Kind::Sqlite => Arc::new(SqliteStore::open(folder.join("jobs.db")).expect("the file opens")),
                Kind::Postgres => {
                    let url = Cluster::shared().expect("a server").fresh_database();
                    let store =
                        PgStore::builder(&url).max_connections(4).connect().await.expect("the server answers");
                    store.migrate().await.expect("an empty database");
                    Arc::new(store)
                }
            };
            let running = scheduler(Arc::clone(&store), names).start();
            enqueue(&store).await;
            let web = Web::new(Arc::clone(&store), Runtime::tokio()).titled("invoices, staging");
            let web = match doors {
                Doors::ReadOnly => web,
                Doors::Actions => web.allow_actions(),
            };
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            let address = listener.local_addr().expect("it is bound");
            // Below a path of its own, as in a service with routes of its own.
            let app = axum::Router::new().nest("/jobs", web.router());
            tokio::runtime::Handle::current().spawn(async move { axum::serve(listener, app).await });
            (format!("http://{address}/jobs"), store, running)
        });
        let scene = Self { url, store, running: Some(running), runtime, folder };
        scene.settle();
        scene
    }

    /// Waits until everything that ends has ended.
    fn settle(&self) {
        self.runtime.block_on(async {
            let runtime = Runtime::tokio();
            for _ in 0..600 {
                let id = RequestId(runtime.uuid());
                let ended = vec![State::Succeeded, State::Dead];
                let page = ask(&self.store, id, ListRecent { states: ended, ..ListRecent::new(1_000) }).await;
                if page.is_ok_and(|page| page.executions.len() == ENDED) {
                    return;
                }
                runtime.sleep(Duration::from_millis(50)).await;
            }
            panic!("the jobs of the scene do not end");
        });
    }

    /// Stops a job as an operator would.
    pub(crate) fn pause(&self, job: &str) {
        let operator = JobOperator::new(Arc::clone(&self.store), Runtime::tokio()).named("ada").expect("a name");
        self.runtime.block_on(operator.pause(job, None)).expect("the store answers");
    }

    /// Gives the job that has its schedules from the database one, as an operator would.
    pub(crate) fn put_schedule(&self, pattern: &str, note: &str) {
        self.put_schedule_for("acme", pattern, note);
    }

    pub(crate) fn put_schedule_for(&self, tenant: &str, pattern: &str, note: &str) {
        let operator = JobOperator::new(Arc::clone(&self.store), Runtime::tokio()).named("ada").expect("a name");
        let scope = Scope::new("tenant", tenant).expect("a scope");
        let schedule = Cron::new(pattern, "Europe/Berlin").expect("a pattern").into();
        let put = operator.put_schedule(ScheduleEdit::of("warehouse_export", scope).note(note), &schedule);
        let outcome = self.runtime.block_on(put).expect("the store answers");
        assert!(matches!(outcome, PutOutcome::Put(_)), "{outcome:?}");
    }

    /// One more item, which stays waiting.
    pub(crate) fn enqueue_one(&self) {
        self.runtime.block_on(async {
            let later =
                Enqueuer::new(Arc::clone(&self.store), Runtime::tokio(), &letters("late_news")).expect("valid");
            later.enqueue_with(&"hello".to_owned(), ItemOptions::new().delay(DAY)).await.expect("enqueued");
        });
    }

    /// Another service's queue, of which one item an hour may begin: one runs and has said how far it is, one waits for its turn.
    pub(crate) fn limit(&self) {
        let runtime = Runtime::tokio();
        let queue = letters("sms").concurrency_per_key(9);
        let sms = Enqueuer::new(Arc::clone(&self.store), runtime.clone(), &queue).expect("the rules hold");
        self.runtime.block_on(async {
            for to in ["ada", "bob"] {
                sms.enqueue_with(&to.to_owned(), ItemOptions::new().key("provider")).await.expect("enqueued");
            }
            let rate = Rate { key: None, turn_us: 3_600_000_000, burst: 1 };
            let claim = Claim {
                runner: Incarnation(runtime.uuid()),
                jobs: vec![sms.queue().clone()],
                limit: 9,
                charge: Charge::AtClaim,
                rate: Some(rate),
            };
            let claimed = ask(&self.store, RequestId(runtime.uuid()), claim).await.expect("the store answers");
            let lease = claimed.executions[0].lease_ref().expect("just claimed");
            let progress = vec![(lease.id, Progress::new("page 3 of 12").done(0.25))];
            let heartbeat = Heartbeat { leases: vec![lease], progress };
            ask(&self.store, RequestId(runtime.uuid()), heartbeat).await.expect("the store answers");
        });
    }

    /// A request as no page makes it; the status, and the answer with its head.
    pub(crate) fn http(&self, request: &str) -> String {
        use std::io::{Read as _, Write as _};
        let address = self.url.trim_start_matches("http://").trim_end_matches("/jobs");
        let mut stream = std::net::TcpStream::connect(address).expect("it listens");
        stream.write_all(request.replace("HOST", address).as_bytes()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers and closes");
        answer
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            drop(self.runtime.block_on(running.shutdown(Duration::from_millis(100))));
        }
        // A folder left behind in the system's temporary one is no reason to fail.
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

/// Slots and items that end, below.
const ENDED: usize = 3 + 1 + 1 + 1 + 24;

fn scheduler(store: Arc<dyn Store>, names: Names) -> Scheduler {
    let tenants = ["acme", "globex", "initech"].map(|id| Scope::new("tenant", id).expect("a scope"));
    let (job, kind, id, answer) = match names {
        Names::Hostile => (HOSTILE, "<b>", "'\"&lt;", "<script>boom()</script>"),
        Names::Plain => {
            ("rotate_keys", "cluster", "eu-1", "{\"retry\": \"no\", \"reason\": \"period 2026-10 is closed\"}")
        }
    };
    let well = |_: Context| async { Ok::<_, HandlerError>(Completion::new().rows_affected(12)) };
    Scheduler::builder(store)
        .job(
            Job::new("invoice_reminders")
                .cron("0 8 * * *", "Europe/Berlin")
                .expect("a pattern")
                .scopes(tenants)
                .audit(Audit::All)
                .run(well),
        )
        .job(Job::new("warehouse_export").stored_schedules().run(well))
        .job(Job::new("fetch_rates").every(DAY / 144).run(well))
        .job(Job::new(job).every(DAY).scopes([Scope::new(kind, id).expect("a scope")]).run(well))
        .job(Job::new("sync_ledger").every(DAY / 24).audit(Audit::All).run(move |_: Context| async move {
            Err::<(), _>(HandlerError::new(format!("the ledger answered 503:\n{answer}")).never_retry())
        }))
        .queue(letters("mail"))
        .queue(Queue::<String>::new("render").workers(2).run(|_, ctx: Context| async move {
            ctx.stopping().await;
            Ok::<_, HandlerError>(())
        }))
        .service(
            Service::new("route_news")
                .every(DAY)
                .mode(HaMode::Leader)
                .led_by("news")
                .run(|_: Tick| async { Ok::<_, tourbillon::job::BoxError>(Pass::default()) }),
        )
        .leadership(Leadership::new("news"))
        .settings(Settings { poll_interval: Duration::from_millis(100), ..Settings::default() })
        .build()
        .expect("the rules hold")
}

/// A queue of letters, every sixth of which comes back.
fn letters(name: &str) -> Queue<String> {
    Queue::new(name).max_attempts(1).run(|to: String, _: Context| async move {
        if to.starts_with("nobody") { Err(HandlerError::new("550 no such mailbox")) } else { Ok(()) }
    })
}

async fn enqueue(store: &Arc<dyn Store>) {
    let mail = Enqueuer::new(Arc::clone(store), Runtime::tokio(), &letters("mail")).expect("the rules hold");
    for n in 0..24 {
        let to = if n % 6 == 0 { format!("nobody-{n}@example.com") } else { format!("customer-{n}@example.com") };
        mail.enqueue(&to).await.expect("enqueued");
    }
    for n in 0..40 {
        let later = ItemOptions::new().delay(DAY);
        mail.enqueue_with(&format!("later-{n}@example.com"), later).await.expect("enqueued");
    }
    let render = Queue::<String>::new("render").run(|_, _: Context| async { Ok::<_, HandlerError>(()) });
    let render = Enqueuer::new(Arc::clone(store), Runtime::tokio(), &render).expect("the rules hold");
    for n in 0..5 {
        render.enqueue(&format!("page {n}")).await.expect("enqueued");
    }
}
