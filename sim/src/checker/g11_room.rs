//! G11, the bound: an enqueue lets no item into a queue that holds as many as the request says it may, and says "full" of
//! no queue that does not.
//!
//! Live items are counted from the history alone: what enqueues made and requeues brought back, less what has ended.

use std::collections::{BTreeMap, BTreeSet};

use tourbillon::{
    model::JobName,
    store::{EnqueueOutcome, Reply, Verb},
};

use super::{
    docket::Docket,
    shadow::{Shadow, Stage},
    track::{Act, Track},
};

/// The items of each queue that lived when they were last looked at.
type Rooms<'h> = BTreeMap<&'h JobName, BTreeSet<usize>>;

pub(super) fn judge(docket: &mut Docket, track: &Track<'_>) {
    let mut rooms = Rooms::new();
    let mut queues: BTreeMap<usize, &JobName> = BTreeMap::new();
    // By event: the bound that the request names, and its queue.
    let mut bounds = BTreeMap::new();
    let mut full = Vec::new();
    for (event, _, request, reply) in track.applied() {
        let (Verb::Enqueue(enqueue), Reply::Enqueued(enqueued)) = (&request.verb, reply) else { continue };
        for outcome in &enqueued.outcomes {
            if let EnqueueOutcome::Enqueued(id) = outcome
                && let Some(row) = track.row_at(*id)
            {
                queues.insert(row, &enqueue.queue);
            }
        }
        if let Some(max) = enqueue.max_items {
            bounds.insert(event, max);
            if enqueued.outcomes.contains(&EnqueueOutcome::Full) {
                full.push((event, &enqueue.queue, max));
            }
        }
    }
    let mut full = full.into_iter().peekable();
    let mut refused = |until: usize, rooms: &mut Rooms<'_>, shadows: &[Shadow], docket: &mut Docket| {
        while let Some((event, queue, max)) = full.next_if(|(event, ..)| *event < until) {
            let live = count(rooms, queue, shadows);
            docket.demand(live >= max, &[event], || {
                format!("queue {queue} was called full with {live} live items, at most {max} may be")
            });
        }
    };
    let end = track.walk(|step, shadows| {
        refused(step.event, &mut rooms, shadows, docket);
        let (Act::Made | Act::Requeued(_), Some(queue)) = (step.act, queues.get(&step.row).copied()) else { return };
        if let (Act::Made, Some(max)) = (step.act, bounds.get(&step.event).copied()) {
            let live = count(&mut rooms, queue, shadows);
            docket.demand(live < max, &[step.event], || {
                let name = track.name(step.row);
                format!("{name} got into queue {queue} at {}, with {live} live items of at most {max}", step.now)
            });
        }
        // Looked at from the next step on: until then the row is not live yet.
        rooms.entry(queue).or_default().insert(step.row);
    });
    refused(usize::MAX, &mut rooms, &end, docket);
}

fn count(rooms: &mut Rooms<'_>, queue: &JobName, shadows: &[Shadow]) -> u64 {
    let Some(rows) = rooms.get_mut(queue) else { return 0 };
    rows.retain(|row| matches!(shadows[*row].stage, Stage::Waiting(_) | Stage::Held));
    rows.len() as u64
}

#[cfg(test)]
mod tests {
    use tourbillon::store::EnqueueOutcome::{Duplicate, Full};

    use super::super::story::{Story, execution};

    #[test]
    fn a_queue_that_keeps_its_bound_is_fine() {
        let mut story = Story::new();
        story.enqueue_within(2, &[1, 2], None).enqueue_within(2, &[], Some(Full));
        story.run(1).succeed(1).enqueue_within(2, &[3], Some(Full)).requeue(1, 2);
        story.enqueue_within(2, &[], Some(Full)).enqueue_within(3, &[], Some(Full));
        story.is_fine();
        let mut story = Story::new();
        story.enqueue_within(1, &[1], Some(Duplicate(execution(1))));
        story.is_fine();
    }

    #[test]
    fn an_item_beyond_the_bound_is_found() {
        let mut story = Story::new();
        story.enqueue_within(1, &[1, 2], None);
        story.flagged_by(&["G11"]);
        let mut story = Story::new();
        story.enqueue_within(1, &[1], None).run(1).fail(1, 0).enqueue_within(1, &[2], None);
        story.flagged_by(&["G11"]);
    }

    #[test]
    fn a_queue_with_room_is_not_full() {
        let mut story = Story::new();
        story.enqueue_within(2, &[1], Some(Full));
        story.flagged_by(&["G11"]);
        let mut story = Story::new();
        story.enqueue_within(1, &[1], None).run(1).succeed(1).enqueue_within(1, &[], Some(Full));
        story.flagged_by(&["G11"]);
    }
}
