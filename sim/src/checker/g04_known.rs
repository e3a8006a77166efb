//! G4, what a replica knows: a handler is polled only after its replica was told that the start is durable. That the
//! database charged it, as the world can see, is not enough: the replica was lucky then.

use std::collections::{BTreeMap, BTreeSet};

use tourbillon::{
    model::{Incarnation, LeaseRef, RequestId},
    store::Verb,
};

use super::{
    docket::Docket,
    topic::Topic,
    track::{self, Track},
};
use crate::history::{Answer, What};

pub(super) fn judge(docket: &mut Docket, track: &Track<'_>) {
    let mut sent: BTreeMap<RequestId, &[LeaseRef]> = BTreeMap::new();
    let mut known: BTreeSet<(Incarnation, LeaseRef)> = BTreeSet::new();
    for (index, event) in track.about(&[Topic::Claim, Topic::Start, Topic::Other]) {
        match &event.what {
            What::Invoked { request, verb, leases, .. } if verb == "start" => {
                sent.insert(*request, leases);
            }
            // Of a claim that charges, the answer is enough, and a handler that starts without it has no lease to show.
            What::Applied { request, result: Ok(reply), .. } => {
                if let Verb::Claim(claim) = &request.verb {
                    known.extend(track::charged(request, reply).into_iter().map(|lease| (claim.runner, lease)));
                }
            }
            What::Answered { incarnation, request, answer: Answer::Reply, .. } => {
                let leases = sent.get(request).copied().unwrap_or_default();
                known.extend(leases.iter().map(|lease| (*incarnation, *lease)));
            }
            What::HandlerStarted { incarnation, lease, .. } => {
                docket.demand(known.contains(&(*incarnation, *lease)), &[index], || {
                    let LeaseRef { id, token, .. } = lease;
                    format!(
                        "a handler of execution {id} started in {incarnation} under token {token}, and nobody had told it \
                         that the start is durable"
                    )
                });
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::story::Story;
    use crate::history::Answer;

    /// Zoo A20.
    #[test]
    fn a_handler_whose_start_nobody_knows_of_is_seen() {
        let mut story = Story::new();
        story.make(1).claim(1).unheard().start(1).handler(1);
        story.flagged_by(&["G4"]);
        // An answer to something else says nothing of it.
        let mut story = Story::new();
        story.make(1).claim(1).unheard().start(1).heartbeat(1).handler(1);
        story.flagged_by(&["G4"]);
        let mut story = Story::new();
        let request = story.make(1).claim(1).unheard().start(1).repeat().last_request();
        story.answer(request, "start", Answer::Reply).handler(1).effect(1).succeed(1);
        story.is_fine();
    }
}
