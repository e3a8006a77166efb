//! G12: while replicas bring up the schema of an empty database, each step is applied once and in order, nothing else is
//! done before the last one, and no replica starts its work before it.

use std::collections::{BTreeMap, BTreeSet};

use tourbillon::{
    model::RequestId,
    store::{ErrorKind, Migrated, Reply, Verb},
};

use super::{Findings, docket::Docket, topic::Topic, track::Track};
use crate::history::{Answer, Boot, HostId, What};

/// The steps that the database has, oldest first: the event of each, and the version that it made.
#[derive(Default)]
struct Ledger(Vec<(usize, u32)>);

/// What replicas were told of the schema, truthfully, although a fail-over may have taken it back since.
#[derive(Default)]
struct Told {
    /// The version that an answer named.
    answers: BTreeMap<RequestId, u32>,
    /// The last one that arrived at each replica.
    heard: BTreeMap<HostId, u32>,
    /// Versions of which the step was lost at some time.
    lost: BTreeSet<u32>,
}

impl Told {
    /// It heard of this version, and the step was lost behind its back: nobody could have told it.
    fn excuses(&self, host: HostId, version: u32) -> bool {
        self.heard.get(&host) == Some(&version) && self.lost.contains(&version)
    }
}

impl Ledger {
    fn version(&self) -> u32 {
        self.0.last().map_or(0, |(_, version)| *version)
    }

    /// What proves the present version, and `event`.
    fn and(&self, event: usize) -> Vec<usize> {
        self.0.last().map(|(step, _)| *step).into_iter().chain([event]).collect()
    }
}

pub(super) fn judge(track: &Track<'_>) -> Findings {
    let mut docket = Docket::new("G12");
    // Elsewhere the schema was there before the run began.
    if track.facts.is_none_or(|facts| facts.boot == Boot::Ready) {
        sometimes!("a run that began with its schema there says nothing of migrations");
        return docket.close();
    }
    let newest = newest(track);
    let (mut ledger, mut told) = (Ledger::default(), Told::default());
    for (event, recorded) in track.about(Topic::CALLS_AND_OTHER) {
        let version = ledger.version();
        match &recorded.what {
            What::Applied { request, result, .. } => {
                match (&request.verb, result) {
                    (Verb::Migrate(verb), Ok(Reply::Migrated(reply))) => {
                        told.answers.insert(request.id, reply.to);
                        judge_step(&mut docket, &ledger, (event, verb.known), *reply);
                        if reply.from < reply.to {
                            ledger.0.push((event, reply.to));
                        }
                    }
                    (Verb::Migrate(verb), Err(error)) => {
                        let is_due = match error.kind() {
                            ErrorKind::Unavailable | ErrorKind::Unknown => {
                                sometimes!("a migration may fail for now");
                                true
                            }
                            ErrorKind::Invalid => verb.known < version,
                            // A replica does not boot that is told so.
                            ErrorKind::Conflict | ErrorKind::Corrupt | ErrorKind::LeaseLost => false,
                        };
                        docket.demand(is_due, &ledger.and(event), || {
                        let known = verb.known;
                        format!("a program that knows {known} versions was refused at schema version {version}: {error}")
                    });
                    }
                    (verb, Ok(_)) => docket.demand(version == newest, &ledger.and(event), || {
                        format!("{} was carried out at schema version {version} of {newest}", verb.name())
                    }),
                    (_, Err(_)) => {}
                }
            }
            What::FailedOver { lost } => {
                told.lost.extend(ledger.0.iter().filter(|(step, _)| lost.contains(step)).map(|(_, version)| version));
                ledger.0.retain(|(step, _)| !lost.contains(step));
            }
            What::Answered { request, answer: Answer::Reply, .. } => {
                told.heard.extend(told.answers.get(request).map(|version| (recorded.host, *version)));
            }
            What::Booted { incarnation } => {
                let is_right = version == newest || told.excuses(recorded.host, newest);
                sometimes!(
                    "a boot is excused because the step was lost behind its back",
                    is_right && version != newest
                );
                docket.demand(is_right, &ledger.and(event), || {
                    format!("{incarnation} began its work at schema version {version} of {newest}")
                });
            }
            What::Ended { .. } => docket.demand(version == newest, &ledger.and(event), || {
                format!("the schema version is {version} of {newest} at the end")
            }),
            _ => {}
        }
    }
    docket.close()
}

/// The newest version that any replica knows.
fn newest(track: &Track<'_>) -> u32 {
    let known = track.about(&[Topic::Call]).filter_map(|(_, event)| match &event.what {
        What::Applied { request, .. } => match &request.verb {
            Verb::Migrate(verb) => Some(verb.known),
            _ => None,
        },
        _ => None,
    });
    // Without any the schema cannot be there: no version is the right one.
    known.max().unwrap_or(u32::MAX)
}

fn judge_step(docket: &mut Docket, ledger: &Ledger, (event, known): (usize, u32), Migrated { from, to }: Migrated) {
    let version = ledger.version();
    docket.demand(from == version, &ledger.and(event), || {
        format!("a replica was told of schema version {from}, at version {version}")
    });
    let again = ledger.0.iter().find(|(_, made)| from < to && *made == to);
    docket.demand(again.is_none(), &[again.map_or(event, |(step, _)| *step), event], || {
        format!("the step to schema version {to} was applied again")
    });
    let expected = if version < known { version + 1 } else { version };
    docket.demand(to == expected || again.is_some(), &ledger.and(event), || {
        format!(
            "a replica that knows {known} versions took the schema from version {from} to {to}, not to {expected}"
        )
    });
}

#[cfg(test)]
mod tests {
    use tourbillon::store::{ClockRead, Migrate, Migrated, ReadClock, Reply, StoreError};
    use tourbillon::{model::RequestId, store::Request};
    use uuid::Uuid;

    use super::super::story::{Story, incarnation};
    use super::*;
    use crate::history::HostId;

    /// Of replicas that know three versions and find none.
    fn story() -> Story {
        Story::with(|facts| {
            facts.jobs.clear();
            facts.boot = Boot::Migrate;
        })
    }

    impl Story {
        fn migrates(&mut self, from: u32, to: u32) -> &mut Self {
            self.exchange(&[], Migrate { known: 3 }, Reply::Migrated(Migrated { from, to }))
        }

        fn migrates_fully(&mut self) -> &mut Self {
            self.migrates(0, 1).migrates(1, 2).migrates(2, 3)
        }

        fn reads(&mut self) -> &mut Self {
            let now = self.now();
            self.exchange(&[], ReadClock {}, Reply::ClockRead(ClockRead { now }))
        }

        fn boots(&mut self) -> &mut Self {
            self.here(What::Booted { incarnation: incarnation(0) })
        }

        fn is_refused(&mut self, verb: impl Into<Verb>, kind: ErrorKind) -> &mut Self {
            let request = Request { id: RequestId(Uuid::from_u128(9)), verb: verb.into() };
            let (now, result) = (self.now(), Err(StoreError::new(kind, "no")));
            self.record(HostId::Database, What::Applied { request: request.into(), now, result })
        }
    }

    #[test]
    fn each_step_once_and_then_work_is_fine() {
        let mut story = story();
        story
            .is_refused(ReadClock {}, ErrorKind::Invalid)
            .migrates(0, 1)
            .is_refused(Migrate { known: 3 }, ErrorKind::Unavailable);
        story.migrates(1, 2).migrates(2, 3).migrates(3, 3).boots().reads().end().is_fine();
    }

    #[test]
    fn a_step_that_a_fail_over_lost_is_applied_again() {
        taken_back().migrates(2, 3).boots().end().is_fine();
    }

    /// Its fail-over lost the newest step.
    fn taken_back() -> Story {
        let mut story = story();
        story.migrates_fully();
        let lost = story.history.events.iter().rposition(|event| matches!(event.what, What::Applied { .. }));
        story.record(HostId::World, What::FailedOver { lost: lost.into_iter().collect() });
        story
    }

    #[test]
    fn a_replica_that_was_told_of_a_step_before_a_fail_over_lost_it_may_begin() {
        taken_back().boots().migrates(2, 3).end().is_fine();
    }

    #[test]
    fn a_replica_that_was_told_nothing_may_not_begin_after_a_fail_over() {
        let mut story = taken_back();
        story.record(HostId::Replica(1), What::Booted { incarnation: incarnation(1) });
        story.migrates(2, 3).end().flagged_by(&["G12"]);
    }

    #[test]
    fn an_older_program_beside_newer_ones_goes_as_far_as_it_knows() {
        let mut story = story();
        story.exchange(&[], Migrate { known: 1 }, Reply::Migrated(Migrated { from: 0, to: 1 }));
        story.exchange(&[], Migrate { known: 1 }, Reply::Migrated(Migrated { from: 1, to: 1 }));
        story
            .migrates(1, 2)
            .migrates(2, 3)
            .is_refused(Migrate { known: 1 }, ErrorKind::Invalid)
            .boots()
            .end()
            .is_fine();
    }

    #[test]
    fn a_step_that_is_applied_twice_is_seen() {
        story().migrates(0, 1).migrates(0, 1).migrates(1, 2).migrates(2, 3).end().flagged_by(&["G12"]);
    }

    #[test]
    fn a_step_that_is_left_out_is_seen() {
        story().migrates(0, 2).migrates(2, 3).end().flagged_by(&["G12"]);
        story().migrates(0, 1).migrates(2, 3).end().flagged_by(&["G12"]);
    }

    #[test]
    fn steps_in_another_order_are_seen() {
        story().migrates(0, 1).migrates(1, 3).migrates(1, 2).end().flagged_by(&["G12"]);
    }

    #[test]
    fn a_pending_step_that_is_not_applied_is_seen() {
        story().migrates(0, 1).migrates(1, 1).migrates(1, 2).migrates(2, 3).end().flagged_by(&["G12"]);
    }

    #[test]
    fn work_before_the_last_step_is_seen() {
        story().migrates(0, 1).reads().migrates(1, 2).migrates(2, 3).end().flagged_by(&["G12"]);
        story().migrates(0, 1).migrates(1, 2).boots().migrates(2, 3).end().flagged_by(&["G12"]);
    }

    #[test]
    fn a_schema_that_is_never_complete_is_seen() {
        story().migrates(0, 1).migrates(1, 2).end().flagged_by(&["G12"]);
        story().end().flagged_by(&["G12"]);
    }

    #[test]
    fn a_migrate_that_is_refused_for_nothing_is_seen() {
        story().migrates_fully().is_refused(Migrate { known: 3 }, ErrorKind::Invalid).end().flagged_by(&["G12"]);
    }

    #[test]
    fn a_schema_that_was_there_before_is_not_judged() {
        let mut story = Story::with(|facts| facts.jobs.clear());
        story.reads().boots().end();
        assert_eq!(judge(&Track::of(&story.history)), Findings::default());
    }

    #[test]
    fn what_came_too_early_is_proved_by_the_last_step_before_it() {
        let mut story = story();
        story.migrates(0, 1);
        let step = story.last_applied();
        story.reads();
        let early = story.last_applied();
        story.is_proved_by("was carried out at schema version 1 of 3", &[step, early]);
    }

    #[test]
    fn a_step_that_is_applied_again_is_called_that() {
        let mut story = story();
        story.migrates_fully();
        let first = story.last_applied();
        story.migrates(2, 3);
        let again = story.last_applied();
        story.is_proved_by("the step to schema version 3 was applied again", &[first, again]);
    }

    #[test]
    fn whoever_finds_nothing_to_do_takes_no_step() {
        let mut story = story();
        story.migrates_fully();
        let lost = vec![story.last_applied()];
        story.migrates(3, 3).record(HostId::Database, What::FailedOver { lost });
        story.migrates(2, 3).boots();
        story.is_fine();
    }
}
