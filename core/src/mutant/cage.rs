//! Owns the names of the planted bugs, which one is loose on this thread, and how often it was reached.

use std::{cell::Cell, str::FromStr};

macro_rules! mutants {
    ($($name:ident $about:literal)*) => {
        /// A planted bug. Ids with A, B and C are rows of the zoo (`docs/ZOO.md`); D are those that this code called
        /// for by itself.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        pub enum Mutant {
            $(#[doc = $about] $name,)*
        }

        impl Mutant {
            /// All of them, in the order of their ids.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// `A1` … `D32`.
            pub const fn id(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }

            /// What it does wrong, in one line.
            pub const fn about(self) -> &'static str {
                match self { $(Self::$name => $about,)* }
            }
        }
    };
}

mutants! {
    A1 "a rescue makes a row retryable that forbids re-entry and has attempts left"
    A2 "a claim uses the time that was read when the last planning began: leases are born stale"
    A3 "a heartbeat learns that its lease is lost, and the handler goes on"
    A4 "an attempt with a result that is too large is not recorded, and runs again when its lease expires"
    A5 "the database refuses the text of a panic, and the end is not recorded"
    A6 "behind the last entry of a backoff table a retry comes at once"
    A7 "a failed slot with attempts left is skipped once a newer one is made"
    A8 "a failed slot is not seen any more once a newer one is made"
    A9 "a claim does not look whether a slot before it still runs"
    A10 "slots that are found late are dropped without a record"
    A11 "the call that records an end has no deadline"
    A12 "a replica's own clock decides when its heartbeat was"
    A13 "a claim of the only attempt whose reply is lost is kept for ever"
    A14 "a tick that ran into its timeout leaks its lock, which goes on being renewed"
    A15 "the end of an attempt is written over a row that has ended"
    A16 "a second attempt is not counted"
    A17 "a rescue goes by the copy of the lease that was made at the claim, and ends rows that were renewed"
    A18 "a claimed row that never started is found by nobody"
    A19 "two enqueues of a key within two seconds both insert"
    A20 "handlers run although nobody knows whether their start is durable"
    A21 "a shutdown drops handlers instead of waiting for them, and says that all is well"
    A22 "a failed row with attempts left gets no time for its retry"
    A23 "a rescue ends a row as dead that was cancelled meanwhile"
    A24 "a revocation list is published whoever signed it and however old it is"
    A25 "a planner makes its slots whether or not they are there already"
    A26 "a step of the schema is applied, and its entry in the ledger is lost"
    A27 "the holder of a lock works on when its renewal was refused"
    A28 "two services share the id of a lock"
    A29 "an acquire looks at the first lock there is, whatever its name"
    A30 "a failure is recorded with the number of attempts before it"
    A31 "an item with a key whose worker died is not due before its key has expired"
    A32 "the first claim of a row returns it and leaves it to others"
    A33 "a backoff that overflows is no wait at all"
    A34 "jitter goes beyond the cap of a backoff"
    B1 "a lock is renewed by its name, whoever asks"
    B2 "a lease is known by its fence alone"
    B3 "a lock is renewed once per time to live"
    B4 "every third promotion fails half-way: leader, and no service runs"
    B5 "slots that passed while nobody planned leave no record"
    B6 "a planner that comes late makes the newest slot only, where each one counts"
    B7 "a planner moves a cursor from where it thinks that it is"
    B8 "planning waits until no handler runs"
    B9 "a replica that did not become leader does not try again"
    B10 "a schedule with more than ten missed slots is not planned any more"
    B11 "an edited schedule goes on from the old cursor"
    B12 "when a lock expires is decided by the clock of whoever wants it"
    B13 "a rescue ends rows whose lease is half over"
    B14 "the planner sleeps by the wall clock"
    B15 "a wall time that does not exist is left out although it should run at the end of the gap"
    B16 "catching up makes slots that are outside their window"
    B17 "a lock is free only when it was given back"
    B18 "a rescue tells that a row has died that ended meanwhile"
    B19 "the end of an attempt is accepted from whoever knows the id"
    B20 "a lease is trusted for ever when heartbeats fail"
    B21 "a heartbeat does not put off the next claim"
    B22 "heartbeats wait while a handler runs"
    B23 "an attempt outlives its run timeout"
    B24 "heartbeats end when a shutdown begins"
    B25 "an expired lease may be claimed whatever the number of attempts"
    B26 "an expired lease of the last attempt is not rescued"
    B27 "an advisory lock is unlocked on another backend of the pooler"
    B28 "a database that restarts forgets who holds a lock"
    B29 "of two replicas that migrate within a second the second is refused"
    B30 "a replica looks for work only when it is told of some"
    B31 "rows are locked in no order"
    B32 "a repeated acquire is told that the lock is taken, by itself"
    B33 "a running row loses its worker"
    B34 "every worker wakes for each notification"
    B35 "a success within a second gives its row back"
    C1 "an overlap limit is checked by `not exists`"
    C2 "a repeated settle is told that its lease is lost"
    C3 "an enqueue that is repeated after its item has gone makes it again"
    C4 "a claim charges the attempt"
    C5 "a claim that never started has its fence used again"
    C6 "a row that waited is run although a newer slot supersedes it"
    C7 "planners of a superseded deployment go on"
    C8 "what lies in a withdrawn future stays there"
    C9 "a running row does not keep its key"
    C10 "a claim reads the whole backlog"
    D1 "a replica gives its lock back while ticks under it still run"
    D2 "a lock is trusted from the answer to its renewal"
    D3 "a lease is trusted from the answer to its heartbeat"
    D4 "a rescue leaves no audit event"
    D5 "a task panics when a shutdown interrupts a handler"
    D6 "a tick begins beside one of the same service"
    D7 "nobody makes sure that a listener still hears"
    D8 "a row is charged before a worker is free for it, also if its attempt may not be lost"
    D9 "a shutdown keeps the rows that wait for a worker"
    D10 "a row that waits for a worker is not renewed"
    D11 "a row that waited runs without being charged"
    D12 "of ends that are recorded together, the first one's outcome answers for all"
    D13 "a queue that forgets what succeeded forgets what failed, too"
    D14 "an edit of a stored schedule leaves the cursor to whichever planner notices"
    D15 "an edited schedule goes on from where the one before it was planned"
    D16 "a claim with a turn for its first row takes the others without one"
    D17 "a claim's answer says that its rows were touched when those of the claim before it were"
    D18 "a handler starts a task past the spawner of its process"
    D19 "a success that is forgotten removes the row from whoever holds it"
    D20 "a claim of plain rows does not lock them"
    D21 "a claim of plain rows takes all that are due if one of them is plain"
    D22 "a claim onward does not lock its rows"
    D23 "a claim onward passes over what is more urgent"
    D24 "a claim goes onward however long ago the first row was looked for"
    D25 "a claim onward takes all rows if one of them is plain"
    D26 "a settlement of plain rows takes whatever lease"
    D27 "a settlement of plain rows frees no place in a limit"
    D28 "a settlement of plain rows forgets what has a slot"
    D29 "a settlement of plain rows leaves one that moved while it was waited for"
    D30 "an enqueue of one item makes one that has ended again"
    D31 "an enqueue of like items makes one that has ended again"
    D32 "a key whose item was made and finished while an enqueue waited is given out again"
}

impl FromStr for Mutant {
    type Err = String;

    fn from_str(id: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.iter().copied().find(|mutant| mutant.id().eq_ignore_ascii_case(id));
        known.ok_or_else(|| {
            let last = Self::ALL.last().map_or("", |mutant| mutant.id());
            format!("no mutant `{id}`: ids are A1 to {last}, see docs/ZOO.md")
        })
    }
}

thread_local! {
    static LOOSE: Cell<Option<Mutant>> = const { Cell::new(None) };
    static HITS: Cell<u64> = const { Cell::new(0) };
}

/// Ends with its scope: then no bug is loose on this thread. See [`let_loose`].
#[derive(Debug)]
#[must_use = "the bug is caught again when this is dropped"]
pub struct Loose(());

impl Drop for Loose {
    fn drop(&mut self) {
        LOOSE.set(None);
    }
}

/// Lets a bug loose on this thread, or none, and counts its hits from zero. A simulation must run on one thread.
pub fn let_loose(mutant: Option<Mutant>) -> Loose {
    LOOSE.set(mutant);
    HITS.set(0);
    Loose(())
}

/// Whether this bug is loose on this thread; counts it as reached if so.
pub fn is_planted(mutant: Mutant) -> bool {
    let is_planted = LOOSE.get() == Some(mutant);
    if is_planted {
        HITS.set(HITS.get() + 1);
    }
    is_planted
}

/// How often the bug that was let loose last was reached.
pub fn hits() -> u64 {
    HITS.get()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bug_is_loose_within_its_scope_only() {
        assert!(!is_planted(Mutant::A1));
        let loose = let_loose(Some(Mutant::A1));
        assert!(is_planted(Mutant::A1) && !is_planted(Mutant::A2));
        drop(loose);
        assert!(!is_planted(Mutant::A1));
        assert_eq!(hits(), 1);
    }

    #[test]
    fn ids_are_known_in_any_case() {
        assert_eq!("b12".parse(), Ok(Mutant::B12));
        assert!("Z1".parse::<Mutant>().expect_err("there is none").contains("docs/ZOO.md"));
    }
}
