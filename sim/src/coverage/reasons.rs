//! Why no run reaches a mark, where that is known: either the simulation cannot have it, and something else holds it, or
//! it is there for the case that something is wrong which nothing is known to be.

/// (the mark, why)
const REASONS: &[(&str, &str)] = &[
    ("a store answers another verb than it was asked", "no store of ours does; it is there for one that is wrong"),
    (
        "a batch is given back because its receiver cannot be asked",
        "scenario files have no probes; `core/tests/queues/working.rs`: a failed probe skips the batch",
    ),
    (
        "an item is ended unrun because its receiver has it",
        "scenario files have no probes; `core/tests/queues/working.rs`: what the receiver has already succeeds without a push",
    ),
    (
        "the probe of a batch fails",
        "scenario files have no probes; `core/tests/queues/working.rs`: a failed probe skips the batch",
    ),
    (
        "the probe of a batch takes too long",
        "scenario files have no probes; it is the same answer as of one that fails",
    ),
    (
        "an item that its receiver has cannot be ended",
        "scenario files have no probes; the row expires then, as after any settle that fails for good",
    ),
    (
        "a store gives no notices",
        "the simulated database gives some whenever it is asked; wake-ups.toml has those that only poll",
    ),
    (
        "a pause keeps a scope from being planned",
        "exhaustive.toml pauses for less than a round of planning; `core/tests/planning.rs`: an operator stops a job",
    ),
    (
        "a plan is refused because a pause came first",
        "needs a pause between the two calls of one round; the conformance suite has the refusal",
    ),
    (
        "a schedule panics",
        "no scenario has a hook of its own; `core/tests/planning.rs`: user code that fails stops no other job",
    ),
    (
        "a scope provider fails",
        "providers of scenarios do not fail; `core/tests/planning.rs`: user code that fails stops no other job",
    ),
    (
        "a scope provider takes too long",
        "providers of scenarios answer at once; `core/tests/planning.rs`: user code that fails stops no other job",
    ),
    ("a callback of a queue panics", "scenario files have no callbacks; it is the same guard as of handlers"),
    ("a callback of a service panics", "scenario files have no callbacks; it is the same guard as of handlers"),
    ("`on_loss` panics", "scenario files have no callbacks; it is the same guard as of handlers"),
    (
        "a promotion fails, and the replica resigns",
        "scenario files have no callbacks; `core/tests/services/locked.rs`: a promotion that fails resigns",
    ),
    (
        "a handler panics before its first poll",
        "handlers of scenarios are async functions, which do nothing before it",
    ),
    (
        "a handler leaves a task behind, which is ended",
        "handlers of scenarios start no tasks; `tests/tests/determinism.rs` has some",
    ),
    (
        "a tick leaves a task behind, which is ended",
        "ticks of scenarios start no tasks; it is the same code as of handlers",
    ),
    (
        "a handler that has returned panics when it is dropped",
        "nothing that a handler of a scenario holds panics when it is dropped",
    ),
    (
        "a loop never awaits, and is named",
        "every loop of ours awaits at every turn; it is there for one that does not",
    ),
    (
        "a session lock cannot be tried",
        "the simulation has no session locks; `tests/tests/postgres/session_lock.rs` has them on a server",
    ),
    (
        "a gate keeps a tick from running",
        "services of scenarios have no gates; `core/tests/services/ticking.rs`: a gate that says no skips silently",
    ),
    ("a gate fails", "services of scenarios have no gates; a failure like any other of a tick"),
    (
        "a row that is gone is excused by pruning",
        "history is kept for days; `sim figures` runs a week, and hand-written histories have it",
    ),
    (
        "an entry that the ledger lacks may have been pruned",
        "history is kept for days; `sim figures` runs a week, and hand-written histories have it",
    ),
    (
        "an old audit event may have been pruned",
        "history is kept for days; `sim figures` runs a week, and hand-written histories have it",
    ),
    (
        "nothing is demanded of a run that was not calm for long enough",
        "the last phase of a scenario is longer than its bound, or the file is refused; hand-written histories have it",
    ),
    (
        "an item is a duplicate of itself, by its id",
        "producers of scenarios repeat under one request; the conformance suite has a duplicate by its id",
    ),
    (
        "a migration may fail for now",
        "simulated refusals never reach the store; only a server would say so where the step is applied",
    ),
    (
        "a replica may have heard either of two answers",
        "needs one renewal that is carried out twice, with a loss between; hand-written histories have it",
    ),
    (
        "an effect of the instant of the news is excused",
        "needs both within one microsecond; it is there for lanes with a coarse clock",
    ),
    (
        "a row comes while a worker is about to end",
        "between the two looks nothing awaits, and the simulation has one thread; a race of a real runtime",
    ),
    (
        "a handler has recorded its end itself",
        "handlers of scenario files leave that to the driver; `sim/tests/own_tables.rs` has one that does not",
    ),
    (
        "an attempt ended in its handler's own transaction is not held to what drivers are told",
        "handlers of scenario files leave that to the driver; `sim/tests/own_tables.rs` has one that does not",
    ),
    (
        "an effect is excused because a fail-over lost the taking of its work",
        "a fail-over must lose the one commit by which a handler took its work; hand-written histories have it",
    ),
    (
        "a renewal is answered when the lock is given up",
        "who gives a lock up ends the renewal with it; it is there for a process that stands still just between the two",
    ),
    (
        "a tick is not begun because of a shutdown",
        "the loop of a service ends with the drain: only a tick on demand can come later, and scenarios have none",
    ),
];

/// Why nothing reaches the mark of this name, if anybody has said.
pub fn reason(mark: &str) -> Option<&'static str> {
    REASONS.iter().find(|(known, _)| *known == mark).map(|(_, why)| *why)
}

/// The marks that have a reason.
pub fn explained() -> impl Iterator<Item = &'static str> {
    REASONS.iter().map(|(mark, _)| *mark)
}
