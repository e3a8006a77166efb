//! G14, listeners: a replica that listens for notices makes sure, every so often, that it still hears, and listens anew if
//! it does not. A listener that is half open says nothing, and polls would hide it for ever (D7).

use std::{collections::BTreeMap, time::Duration};

use tourbillon::model::Incarnation;

use super::{docket::Docket, quiet::Quiet, topic::Topic, track::Track};
use crate::history::{RunFacts, What, micros};

/// The longest pause of a replica that cannot listen, and again, and what a probe and a new listener take.
const RECOVERY: Duration = Duration::from_secs(60);

pub(super) fn judge(docket: &mut Docket, track: &Track<'_>, facts: &RunFacts) {
    let bound_us = micros(facts.probe_interval + RECOVERY + facts.call_timeout * 4);
    let mut quiet = Quiet::default();
    // Who listens, and when it was last known to hear: true time, event.
    let mut heard: BTreeMap<Incarnation, (u64, usize)> = BTreeMap::new();
    for (index, event) in track.about(&[Topic::Other]) {
        if let Some(since_us) = quiet.since_us() {
            for (incarnation, (heard_us, heard)) in &mut heard {
                let deaf_us = event.at_us.saturating_sub(since_us.max(*heard_us));
                let is_deaf = deaf_us > bound_us;
                if is_deaf {
                    docket.demand(false, &[*heard, index], || {
                        format!(
                            "{incarnation} has not made sure for {deaf_us} us that it hears notices, and nothing was in \
                             its way; the bound is {bound_us} us"
                        )
                    });
                    *heard_us = u64::MAX;
                }
            }
        }
        quiet.see(event);
        match &event.what {
            What::Listens { incarnation } => {
                docket.demand(true, &[], String::new);
                heard.insert(*incarnation, (event.at_us, index));
            }
            // A drain ends it.
            What::Crashed { incarnation, .. } | What::ShutdownBegan { incarnation, .. } => {
                heard.remove(incarnation);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::story::{Story, incarnation};
    use crate::history::{Phase, What};

    #[test]
    fn a_listener_that_nobody_probes_is_seen() {
        let listens = || What::Listens { incarnation: incarnation(0) };
        let mut story = Story::new();
        story.here(listens()).wait(100).here(listens()).wait(100).here(listens());
        story.is_fine();
        story.wait(300).by(1).shut_down(crate::history::ShutdownOutcome::Ok);
        story.flagged_by(&["G14"]);
        let mut story = Story::new();
        story.here(listens()).wait(10).crash().wait(300).by(1).crash();
        story.is_fine();
    }

    /// It probes every 30 s, and has 80 s more: to listen anew, and for four calls.
    #[test]
    fn a_listener_has_until_the_bound() {
        let deaf_for = |ms| {
            let mut story = Story::new();
            story.here(What::Listens { incarnation: incarnation(0) }).wait_ms(ms).phase(Phase::Chaos);
            story
        };
        deaf_for(110_000).is_fine();
        deaf_for(110_001).flagged_by(&["G14"]);
    }
}
