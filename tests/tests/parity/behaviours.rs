//! The behaviours, by number, in our own words. Where Tourbillon does better on purpose, the line says how.

/// One of the systems that are contained.
pub(super) struct Part {
    pub(super) title: &'static str,
    pub(super) behaviours: &'static [(u32, &'static str)],
}

/// All numbers.
pub(super) fn numbers() -> impl Iterator<Item = u32> {
    BEHAVIOURS.iter().flat_map(|part| part.behaviours.iter().map(|(number, _)| *number))
}

/// What of a behaviour is not there yet. A number without a test must stand here.
pub(super) const OPEN: &[(u32, &str)] = &[];

pub(super) const BEHAVIOURS: &[Part] = &[
    Part {
        title: "Planned executions",
        behaviours: &[
            (
                1,
                "A job has a name, a schedule (cadence, cron, hook), a delay, a catch-up rule with window and cap, a run timeout, a lease, heartbeats, a rule for re-entry, attempts, backoff, scopes, a handler.",
            ),
            (2, "Each rule that a job can break is refused when the scheduler is built, with an error of its own."),
            (
                3,
                "Slots lie on a grid with a stated, configurable anchor, in UTC; a slot is due after the job's delay.",
            ),
            (
                4,
                "Latest only makes one slot a tick; every slot goes on from the cursor, oldest first, within window and cap. No history means the current slot only. Hooks are capped too.",
            ),
            (
                5,
                "A due row, a failed row whose retry is due and an expired row that may be entered again are claimed by one statement. The row keeps its id; the token rotates; the former attempt's traces are cleared. Expiry compares strictly, retry inclusively.",
            ),
            (
                6,
                "A heartbeat is guarded by id, token and state, refuses a lost lease, has its own deadline, and has ended before the attempt is settled.",
            ),
            (
                7,
                "Settling is guarded likewise and changes nothing when refused. A next retry exists only while attempts remain.",
            ),
            (
                8,
                "Error texts are cut on a character boundary and cleaned; a result that is too large fails that attempt, and never leaves its row running.",
            ),
            (
                9,
                "How an attempt ended is a code: failed, timed out, cancelled, lease lost, panicked, stale, result too large. A graceful shutdown gives the attempt back.",
            ),
            (
                10,
                "An expired row that forbids re-entry ends as stale, and nothing retries it until an operator says so.",
            ),
            (
                11,
                "Identity, slot, state, attempts, next retry, runner, token, lease, times, duration, rows affected, result and error are kept and listed.",
            ),
            (12, "Every decision uses the database clock, read inside the statement."),
            (13, "A job runs per scope; a scope provider that fails stops neither other jobs nor the rescue."),
            (14, "The two reference jobs run in `scenarios/`: an hourly rollup, and cron schedules per trigger."),
        ],
    },
    Part {
        title: "Tick services under a lock",
        behaviours: &[
            (
                20,
                "A service has a name, an interval, a lock, work, and optionally a gate, a pass at start-up and a callback for errors.",
            ),
            (21, "The first tick is jittered, uniform in half an interval."),
            (
                22,
                "The lock is tried, never waited for. Not acquired is a skip; lock error and work error are failures with different messages.",
            ),
            (
                23,
                "Health per service: last success, failure, error, skip, consecutive failures. A snapshot of all; staleness is one call.",
            ),
            (24, "Ticks are counted by service and result."),
            (25, "Unique lock ids and sane intervals are checked when the scheduler is built."),
            (26, "A panic is a recorded failure, and the service goes on."),
            (27, "One pass on demand takes the same path as the loop."),
            (
                28,
                "Two kinds of lock: a lease row with an epoch, and a Postgres session advisory lock on a connection of its own.",
            ),
            (
                29,
                "Every tick has a request id and a span; a pass that counts logs its completion; \"database unavailable\", \"pass failed\" and \"another replica has the lock\" are told apart.",
            ),
        ],
    },
    Part {
        title: "The fifteen-loop operator",
        behaviours: &[
            (
                40,
                "Per loop: interval, timeout, first run at once or after an interval, a guard in the process; errors are logged and the loop goes on; optional loops are absent.",
            ),
            (41, "Configuration has floors."),
            (42, "Stopping drains ticks in flight, else an error names what still runs."),
            (43, "A failed job with attempts left goes back, once, with one audit event in the same transaction."),
            (
                44,
                "Any number of replicas boot at once and every migration is applied once, in order; a crash between two never repeats one; a newer schema is a clear error.",
            ),
            (45, "Limits state their scope, and each HA mode says when to pin to one replica."),
        ],
    },
    Part {
        title: "The store-and-forward queue",
        behaviours: &[
            (60, "An item has id, kind, fingerprint, state, payload, attempts, errors, times, origin."),
            (
                61,
                "Enqueueing checks closed, invalid, full, duplicate, in this order; a duplicate says so and names the existing item. A finished or dead item frees its fingerprint and its place.",
            ),
            (
                62,
                "Enqueue, claim, peek, get, update, delete, fail, requeue, size, stats, cleanup, list, close; errors full, closed, not found, duplicate, invalid.",
            ),
            (63, "Statistics: totals per state, oldest, newest, last retry, retries, successes."),
            (
                64,
                "A worker with interval, batch, attempts, time to live and capacity; starting twice is an error, stopping is idempotent and drains; process now; callbacks on success, failure and, first, exhaustion.",
            ),
            (
                65,
                "Backoff: exponential, linear, constant or a table; capped at 48 h, jitter included; no overflow; a preview of the schedule and its total.",
            ),
            (
                66,
                "Before a batch the receiver is asked what it already has; that succeeds without a push. A failed probe charges no attempt.",
            ),
            (67, "Attempts are durable, a crash never strands an item, and two workers never push one item at once."),
            (68, "Durable with no server: one SQLite file, crash-safe."),
            (
                69,
                "Deduplication can be switched off. What cleanup removes is counted and audited. Each retry and each worker reports what it did.",
            ),
        ],
    },
];
