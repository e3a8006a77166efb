//! G5, the ends of attempts: the database takes whatever a replica says of them. One that is refused for its form is lost,
//! and the attempt runs again for nothing (A5). One whose handler has ended is told, if its process goes on (A4).

use std::collections::{BTreeMap, BTreeSet};

use tourbillon::{
    model::{Incarnation, LeaseRef},
    runtime::HandlerEnd,
    store::{ErrorKind, Verb},
};

use super::{docket::Docket, topic::Topic, track::Track};
use crate::history::{HostId, What};

/// A replica has at most this long something else to say before, and says that first: twice the patience of a settle.
const PATIENCE_US: u64 = 120_000_000;

struct Ended {
    host: HostId,
    event: usize,
    at_us: u64,
}

pub(super) fn judge(docket: &mut Docket, track: &Track<'_>) {
    let mut told: BTreeSet<LeaseRef> = BTreeSet::new();
    let mut untold: BTreeMap<(Incarnation, LeaseRef), Ended> = BTreeMap::new();
    for (index, event) in track.about(&[Topic::Settle, Topic::Other]) {
        match &event.what {
            What::Applied { request, result: Err(error), .. } => {
                if let Verb::Settle(_) = &request.verb {
                    let passes = matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Unknown);
                    docket.demand(passes, &[index], || {
                        format!("settle {} was refused as {}: {error}", request.id, error.kind().as_str())
                    });
                }
            }
            What::Invoked { incarnation, verb, leases, .. } if verb == "settle" => {
                for lease in leases {
                    told.insert(*lease);
                    untold.remove(&(*incarnation, *lease));
                }
            }
            What::HandlerEnded { incarnation, lease, end }
                if *end != HandlerEnd::LeaseLost && !told.contains(lease) =>
            {
                let ended = Ended { host: event.host, event: index, at_us: event.at_us };
                untold.insert((*incarnation, *lease), ended);
            }
            // Whoever is held up says it later.
            What::Paused | What::Resumed | What::ClockSet { .. } => {
                untold.retain(|_, ended| ended.host != event.host);
            }
            // An end that a shutdown leaves untold, it names.
            What::Crashed { incarnation, .. }
            | What::ShutdownBegan { incarnation, .. }
            | What::ShutdownEnded { incarnation, .. } => {
                untold.retain(|(process, _), _| process != incarnation);
            }
            _ => {}
        }
        let overdue = |ended: &Ended| event.at_us > ended.at_us + PATIENCE_US;
        while let Some((key, ended)) = untold.iter().find(|(_, ended)| overdue(ended)) {
            let (incarnation, lease) = *key;
            docket.demand(false, &[ended.event, index], || {
                format!(
                    "the attempt of execution {} that ended in {incarnation} was not told to the database",
                    lease.id
                )
            });
            untold.remove(&(incarnation, lease));
        }
    }
}

#[cfg(test)]
mod tests {
    use tourbillon::store::{ErrorKind, Request, StoreError};
    use tourbillon::{model::RequestId, runtime::HandlerEnd, store::Settle};
    use uuid::Uuid;

    use super::super::story::{Story, succeeded};
    use crate::history::{HostId, What};

    /// Zoo A4.
    #[test]
    fn an_end_that_the_database_never_hears_of_is_seen() {
        let mut story = Story::new();
        story.make(1).run(1).effect(1).handler_ends(1, HandlerEnd::Failed).wait(121).step_clock(0);
        story.flagged_by(&["G5"]);
        let mut story = Story::new();
        story.make(1).run(1).effect(1).handler_ends(1, HandlerEnd::Failed).crash().wait(121).step_clock(0);
        story.is_fine();
        let mut story = Story::new();
        story.make(1).run(1).effect(1).handler_ends(1, HandlerEnd::Succeeded).succeed(1).wait(121).step_clock(0);
        story.is_fine();
    }

    /// Zoo A5.
    #[test]
    fn an_end_that_is_refused_for_its_form_is_seen() {
        let refused = |kind| {
            let mut story = Story::new();
            story.make(1).run(1).effect(1);
            let settlements = vec![tourbillon::store::Settlement::of(story.lease(1), succeeded())];
            let request = Request { id: RequestId(Uuid::from_u128(9)), verb: Settle { settlements }.into() }.into();
            let now = story.now();
            story.record(HostId::Database, What::Applied { request, now, result: Err(StoreError::new(kind, "no")) });
            story
        };
        refused(ErrorKind::Invalid).flagged_by(&["G5"]);
        refused(ErrorKind::Unavailable).is_fine();
    }

    /// It has two minutes.
    #[test]
    fn an_end_may_be_told_until_nobody_has_the_patience_any_more() {
        let untold_for = |ms| {
            let mut story = Story::new();
            story.make(1).run(1).effect(1).handler_ends(1, HandlerEnd::Failed).wait_ms(ms).step_clock(0);
            story
        };
        untold_for(120_000).is_fine();
        untold_for(120_001).flagged_by(&["G5"]);
    }

    #[test]
    fn an_end_is_not_awaited_of_who_was_held_up_or_lost_its_lease_or_has_told_it() {
        let mut story = Story::new();
        story.make(1).run(1).effect(1).handler_ends(1, HandlerEnd::Failed).pause().wait(121).resume();
        story.is_fine();
        let mut story = Story::new();
        story.make(1).run(1).effect(1).handler_ends(1, HandlerEnd::LeaseLost).wait(121).step_clock(0);
        story.is_fine();
        let mut story = Story::new();
        story.make(1).run(1).effect(1).succeed(1).handler_ends(1, HandlerEnd::Succeeded).wait(121).step_clock(0);
        story.is_fine();
    }
}
