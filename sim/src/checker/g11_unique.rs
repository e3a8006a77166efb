//! G11: at most one live execution per unique key. An enqueue makes none beside a live one; what it calls a duplicate
//! was there; a requeue onto a live key is a conflict; and one request enqueues its items once.
//!
//! The database applies one request after the other, so what is live at an enqueue is known. Which finished ones count
//! is in the request; of those that may have been pruned nothing is said.

use std::collections::BTreeMap;

use tourbillon::{
    model::{ExecutionId, State, Timestamp},
    store::{Counts, Enqueue, EnqueueOutcome, NewItem, Reply, RequeueOutcome, Verb},
};

use super::{
    Findings,
    docket::Docket,
    g11_room,
    shadow::{Shadow, Stage},
    track::{Act, Track},
};
use crate::history::What;

/// Who had a key: the row, and the event that made it so.
type Holders = BTreeMap<String, (usize, usize)>;

pub(super) fn judge(track: &Track<'_>) -> Findings {
    let mut docket = Docket::new("G11");
    let keys = keys(track);
    let mut holders = Holders::new();
    track.walk(|step, shadows| {
        let births = matches!(step.act, Act::Made | Act::Requeued(_));
        let Some(key) = keys.get(&step.row).filter(|_| births) else { return };
        let before = holders.insert(key.clone(), (step.row, step.event));
        let Some((other, since)) = before.filter(|(other, _)| *other != step.row) else { return };
        docket.demand(!is_live(&shadows[other]), &[since, step.event], || {
            let now = step.now;
            format!("{} got key {key:?} at {now}, which {} has", track.name(step.row), track.name(other))
        });
    });
    duplicates(&mut docket, track, &keys);
    once_per_request(&mut docket, track);
    g11_room::judge(&mut docket, track);
    docket.close()
}

/// The stored keys of all items that were enqueued.
fn keys(track: &Track<'_>) -> BTreeMap<usize, String> {
    let mut keys = BTreeMap::new();
    for (now, enqueue, outcomes) in enqueues(track) {
        for (item, outcome) in enqueue.items.iter().zip(outcomes) {
            if let (EnqueueOutcome::Enqueued(id), Some(unique)) = (outcome, &item.unique)
                && let Some(row) = track.row_at(*id)
            {
                keys.entry(row).or_insert_with(|| unique.stored(now));
            }
        }
    }
    keys
}

fn enqueues<'t, 'h: 't>(
    track: &'t Track<'h>,
) -> impl Iterator<Item = (Timestamp, &'h Enqueue, &'h [EnqueueOutcome])> + 't {
    track.applied().filter_map(|(_, now, request, reply)| match (&request.verb, reply) {
        (Verb::Enqueue(enqueue), Reply::Enqueued(enqueued)) => Some((now, enqueue, &enqueued.outcomes[..])),
        _ => None,
    })
}

const fn is_live(shadow: &Shadow) -> bool {
    matches!(shadow.stage, Stage::Waiting(_) | Stage::Held)
}

/// "Duplicate" names one that has the id or the key, and is live, or ended in a state that counts; "conflict" says that
/// somebody is live.
fn duplicates(docket: &mut Docket, track: &Track<'_>, keys: &BTreeMap<usize, String>) {
    let mut told = Vec::new();
    for (event, now, request, reply) in track.applied() {
        match (&request.verb, reply) {
            (Verb::Enqueue(enqueue), Reply::Enqueued(enqueued)) => {
                for (item, outcome) in enqueue.items.iter().zip(&enqueued.outcomes) {
                    if let EnqueueOutcome::Duplicate(existing) = outcome {
                        told.push((event, now, Told::Duplicate(item, *existing)));
                    }
                }
            }
            (Verb::Requeue(requeue), Reply::Requeued(requeued)) => {
                for (id, outcome) in requeue.ids.iter().zip(&requeued.outcomes) {
                    if *outcome == RequeueOutcome::Conflict {
                        told.push((event, now, Told::Conflict(*id)));
                    }
                }
            }
            _ => {}
        }
    }
    let mut pending = told.into_iter().peekable();
    let mut decide = |until: usize, shadows: &[Shadow], docket: &mut Docket| {
        while let Some((event, now, told)) = pending.next_if(|(event, ..)| *event < until) {
            told.judge(docket, track, keys, shadows, (event, now));
        }
    };
    // With the rows as they are after the whole request: items of one batch are duplicates of each other, too.
    let end = track.walk(|step, shadows| decide(step.event, shadows, docket));
    decide(usize::MAX, &end, docket);
}

enum Told<'h> {
    Duplicate(&'h NewItem, ExecutionId),
    Conflict(ExecutionId),
}

impl Told<'_> {
    fn judge(
        &self,
        docket: &mut Docket,
        track: &Track<'_>,
        keys: &BTreeMap<usize, String>,
        shadows: &[Shadow],
        (event, now): (usize, Timestamp),
    ) {
        match self {
            Self::Duplicate(item, existing) => {
                let key = item.unique.as_ref().map(|unique| (unique.stored(now), unique.counts));
                let holds = track.row_at(*existing).is_some_and(|row| {
                    let counts = |state| match key.as_ref().map(|(_, counts)| counts) {
                        Some(Counts::Finished) => true,
                        Some(Counts::Succeeded) => state == State::Succeeded,
                        Some(Counts::Live) | None => false,
                    };
                    let is_itself = item.id == *existing && shadows[row].stage != Stage::Absent;
                    let has_key = keys.get(&row).is_some_and(|held| key.as_ref().is_some_and(|(key, _)| key == held));
                    // It may have been requeued since it ended in a state that counts: the last end is what is known.
                    let there = match shadows[row].stage {
                        Stage::Waiting(_) | Stage::Held => true,
                        Stage::Ended(state) => {
                            sometimes!("a finished item holds its key", has_key && counts(state));
                            counts(state)
                        }
                        Stage::Absent => false,
                    };
                    sometimes!("an item is a duplicate of itself, by its id", is_itself && !(has_key && there));
                    is_itself || (has_key && there)
                });
                docket.demand(holds, &[event], || {
                    let id = item.id;
                    format!("item {id} was called a duplicate of {existing} at {now}, which does not hold its key")
                });
            }
            Self::Conflict(id) => {
                let key = track.row_at(*id).and_then(|row| keys.get(&row));
                let holder = key.and_then(|key| {
                    keys.iter().find(|(row, held)| *held == key && is_live(&shadows[**row])).map(|(row, _)| *row)
                });
                docket.demand(holder.is_some(), &[event], || {
                    format!("the requeue of {id} was called a conflict at {now}, and nobody live has its key")
                });
            }
        }
    }
}

/// A repetition answers from the receipt, also after the items have gone: no request is carried out twice.
fn once_per_request(docket: &mut Docket, track: &Track<'_>) {
    for &(first, again) in &track.broken_repeats {
        if let What::Applied { request, .. } = &track.history.events[again].what
            && matches!(request.verb, Verb::Enqueue(_))
        {
            let id = request.id;
            docket
                .demand(false, &[first, again], || format!("repeated enqueue {id} did not return its first outcome"));
        }
    }
}

#[cfg(test)]
mod tests {
    use tourbillon::{
        model::{State, transition::Cancelled},
        store::{Counts, Reply, RequeueOutcome},
    };

    use super::super::story::Story;

    #[test]
    fn a_key_is_free_again_once_its_item_has_ended() {
        let mut story = Story::new();
        story.enqueue(1, "a", Counts::Live).duplicate(2, "a", 1, Counts::Live);
        story.run(1).duplicate(2, "a", 1, Counts::Live);
        story.succeed(1).enqueue(3, "a", Counts::Live).enqueue(4, "b", Counts::Live);
        story.is_fine();
    }

    /// Zoo A19: check, then insert.
    #[test]
    fn two_live_items_with_one_key() {
        let mut story = Story::new();
        story.enqueue(1, "a", Counts::Live).enqueue(2, "a", Counts::Live);
        story.flagged_by(&["G11"]);
    }

    /// Zoo C9.
    #[test]
    fn a_cancelled_running_item_holds_its_key_until_it_ends() {
        let mut story = Story::new();
        story.enqueue(1, "a", Counts::Live).run(1).cancel(1, Cancelled::Requested);
        story.enqueue(2, "a", Counts::Live);
        story.flagged_by(&["G11"]);
        let mut story = Story::new();
        story.enqueue(1, "a", Counts::Live).run(1).cancel(1, Cancelled::Requested);
        story.wait(31).rescue(1, State::Cancelled).enqueue(2, "a", Counts::Live);
        story.is_fine();
    }

    #[test]
    fn a_duplicate_of_something_that_is_not_there() {
        let mut story = Story::new();
        story.enqueue(1, "a", Counts::Live).run(1).succeed(1).duplicate(2, "a", 1, Counts::Live);
        story.flagged_by(&["G11"]);
        let mut story = Story::new();
        story.enqueue(1, "a", Counts::Live).run(1).succeed(1).duplicate(2, "a", 1, Counts::Succeeded);
        story.is_fine();
        let mut story = Story::new();
        story.enqueue(1, "a", Counts::Live).duplicate(2, "b", 1, Counts::Live);
        story.flagged_by(&["G11"]);
    }

    #[test]
    fn a_requeue_onto_a_live_key() {
        let mut story = Story::new();
        story.enqueue(1, "a", Counts::Live).run(1).succeed(1).enqueue(2, "a", Counts::Live).requeue(1, 2);
        story.flagged_by(&["G11"]);
    }

    /// Zoo C3: a retried enqueue, after its receipt should have answered.
    #[test]
    fn one_request_that_enqueues_twice() {
        let mut story = Story::new();
        story.enqueue(1, "a", Counts::Live).run(1).succeed(1).repeat();
        story.is_fine();
        let mut story = Story::new();
        story.enqueue(1, "a", Counts::Live).run(1).succeed(1).wait(1).enqueue_again();
        story.flagged_by(&["G11"]);
    }

    #[test]
    fn a_requeue_that_meets_nobody_is_no_conflict() {
        let refused = |key: &str, ends: bool| {
            let mut story = Story::new();
            story.enqueue(1, "a", Counts::Live).run(1).succeed(1).enqueue(3, "b", Counts::Live);
            story.enqueue(2, key, Counts::Live);
            if ends {
                story.run(2).succeed(2);
            }
            story.requeue(1, 2).forge(|_, reply| {
                if let Reply::Requeued(requeued) = reply {
                    requeued.outcomes[0] = RequeueOutcome::Conflict;
                }
            });
            story
        };
        refused("a", false).is_fine();
        refused("a", true).flagged_by(&["G11"]);
        refused("c", false).flagged_by(&["G11"]);
    }
}
