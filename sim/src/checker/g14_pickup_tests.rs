//! Hand-written histories of items that are taken in time or left waiting, for [`super::g14_pickup`]; nothing of how it
//! judges.

use std::time::Duration;

use tourbillon::{
    model::{Reentry, State, transition},
    plan::Backoff,
    runtime::HandlerEnd,
    store::{Counts, Due},
};

use super::{
    story::{Story, incarnation},
    story_queue::queue,
};
use crate::history::{HostId, Phase, QueueFacts, RunFacts, What};

/// Polls every minute; its bounds are 0.7 s and 70.3 s. Two workers. The only process begins at second 0.
fn story() -> Story {
    story_with(|_| {})
}

fn story_with(change: fn(&mut RunFacts)) -> Story {
    let mut story = Story::with(|facts| {
        change(facts);
        facts.poll_interval = Duration::from_secs(60);
        let backoff = Backoff::constant(Duration::from_secs(1));
        facts.queues.push(QueueFacts { queue: queue(), backoff, workers: 2, has_limit: false, rate: None });
    });
    story.here(What::Booted { incarnation: incarnation(0) });
    story
}

/// It has listened for long.
fn listening() -> Story {
    let mut story = story();
    story.wait(31).hears();
    story
}

impl Story {
    fn hears(&mut self) -> &mut Self {
        let incarnation = incarnation(self.replica());
        self.here(What::Listens { incarnation })
    }

    fn put(&mut self, n: u8) -> &mut Self {
        self.enqueue(n, &format!("key {n}"), Counts::Live)
    }

    fn fault(&mut self, kind: &str, begins: bool) -> &mut Self {
        let kind = kind.to_owned();
        let detail = String::new();
        self.here(if begins { What::FaultBegan { kind, detail } } else { What::FaultEnded { kind } })
    }
}

/// A message of replica 0 met a fault.
fn struck(story: &mut Story, kind: &str) {
    let kind = kind.to_owned();
    story.record(HostId::Database, What::Struck { kind, replica: 0, request: None });
}

#[test]
fn who_listens_takes_a_due_item_soon() {
    let mut story = listening();
    story.put(1).wait_ms(700).claim(1).is_fine();
    let mut story = listening();
    story.put(1).wait_ms(701).claim(1).flagged_by(&["G14"]);
}

#[test]
fn who_does_not_is_given_a_poll() {
    let mut polls = story();
    polls.wait(31).put(1).wait_ms(70_300).claim(1).is_fine();
    let mut polls = story();
    polls.wait(31).put(1).wait_ms(70_301).claim(1).flagged_by(&["G14"]);
}

#[test]
fn an_item_that_nobody_ever_takes_is_found() {
    let mut story = listening();
    story.put(1).wait(10).phase(Phase::Heal);
    story.flagged_by(&["G14"]);
}

/// What is lost then is found by polling.
#[test]
fn faults_of_notices_leave_the_poll() {
    let lost = |until_poll_ms| {
        let mut story = listening();
        story.fault("notices_lost", true).put(1);
        struck(&mut story, "notices_lost");
        story.wait_ms(until_poll_ms).claim(1);
        story
    };
    lost(70_300).is_fine();
    lost(70_301).flagged_by(&["G14"]);
    // Nobody knows that it hears again, until it says so.
    let ended = |hears: bool| {
        let mut story = listening();
        story.fault("notices_late", true).wait(5).fault("notices_late", false).wait(1);
        if hears {
            story.hears();
        }
        story.put(1).wait(2).claim(1);
        story
    };
    ended(false).is_fine();
    ended(true).flagged_by(&["G14"]);
}

#[test]
fn a_fault_is_in_the_way_while_it_lasts_and_for_a_while_after() {
    let mut story = listening();
    story.fault("partition", true).put(1).wait(500).fault("partition", false);
    story.wait(30).wait_ms(70_300).claim(1).is_fine();
    let mut story = listening();
    story.fault("partition", true).put(1).wait(500).fault("partition", false);
    story.wait(30).wait_ms(70_301).claim(1).flagged_by(&["G14"]);
    // A crash is over when the next process has been there for long enough.
    let mut story = listening();
    story.fault("crash", true).crash().put(1).wait(500);
    story.here(What::Booted { incarnation: incarnation(0) }).wait(100).claim(1).is_fine();
    let mut story = listening();
    story.fault("crash", true).crash().wait(500).here(What::Booted { incarnation: incarnation(0) });
    story.wait(31).hears().put(1).wait(1).claim(1).flagged_by(&["G14"]);
}

#[test]
fn a_replica_without_room_need_not_take_anything() {
    let busy = |claimed: u8| {
        let mut story = listening();
        for n in 1..=claimed {
            story.put(n).claim(n);
        }
        story.put(9).wait(1);
        story
    };
    busy(2).claim(9).is_fine();
    busy(1).claim(9).flagged_by(&["G14"]);
    // Room comes back, and with it a poll's time.
    busy(2).start(1).succeed(1).wait_ms(70_300).claim(9).is_fine();
    busy(2).start(1).succeed(1).wait_ms(70_301).claim(9).flagged_by(&["G14"]);
}

#[test]
fn what_a_fail_over_loses_was_taken_until_then() {
    let mut story = listening();
    story.put(1).claim(1).wait(10).lose(1).is_fine();
    // Whoever had taken it has room again when it has recovered, and what it ran already has ended.
    let busy = |ends: bool| {
        let mut story = listening();
        story.put(1).put(2).run(1).run(2).wait(10).lose(4);
        if ends {
            story.handler_ends(1, HandlerEnd::Succeeded);
        }
        story.wait(31).hears().put(3).wait(1).claim(3);
        story
    };
    busy(false).is_fine();
    busy(true).flagged_by(&["G14"]);
}

#[test]
fn what_is_removed_need_not_be_taken() {
    let mut story = listening();
    story.put(1).delete(1).wait(100).phase(Phase::Heal).is_fine();
}

#[test]
fn an_item_that_nobody_has_taken_in_the_end_is_found() {
    let mut story = listening();
    story.put(1).wait(10).end().flagged_by(&["G14"]);
}

#[test]
fn an_item_that_is_not_due_yet_need_not_be_taken() {
    let mut story = listening();
    story.enqueue_as(1, |item| item.due = Due::AfterMs(60_000)).wait(60).claim(1).is_fine();
}

/// Whoever was touched has the time to recover, and then a poll's.
#[test]
fn what_touches_a_replica_for_a_moment_is_in_its_way_for_a_while() {
    let touches: [fn(&mut Story); 2] = [|story| struck(story, "slow"), |story| _ = story.pause().wait(20).resume()];
    for touch in touches {
        let taken_after = |ms| {
            let mut story = listening();
            touch(story.put(1));
            story.wait_ms(ms).claim(1);
            story
        };
        taken_after(100_300).is_fine();
        taken_after(100_301).flagged_by(&["G14"]);
    }
}

#[test]
fn a_step_of_the_database_clock_ends_all_waits_and_that_of_a_replica_none() {
    let mut story = listening();
    story.put(1).step_clock(0).wait(100).claim(1).is_fine();
    let mut story = listening();
    story.put(1).drift(0).wait(10).claim(1).flagged_by(&["G14"]);
}

#[test]
fn a_replica_is_judged_when_something_gets_in_its_way_and_not_when_it_does_in_anothers() {
    let mut story = listening();
    story.put(1).wait(1).fault("partition", true).wait(500).claim(1).flagged_by(&["G14"]);
    let mut story = listening();
    story.put(1).wait_ms(600).by(1).fault("partition", true).by(0).wait_ms(100).claim(1).is_fine();
}

#[test]
fn faults_that_overlap_are_in_the_way_until_the_last_one_ends() {
    for (first, second) in [("partition", "partition"), ("partition", "slow")] {
        let mut story = listening();
        story.fault(first, true).fault(second, true).put(1).fault(first, false).wait(500).claim(1).is_fine();
    }
}

#[test]
fn a_worker_is_busy_with_one_item_from_its_claim_to_the_end_of_its_handler() {
    let mut story = listening();
    story.put(1).run(1).put(9).wait(1).claim(9).flagged_by(&["G14"]);
    // What another process is busy with is that one's.
    let mut story = listening();
    story.by(1).here(What::Booted { incarnation: incarnation(1) });
    story.put(1).claim(1).put(2).claim(2).put(9).wait(1).by(0).claim(9).flagged_by(&["G14"]);
}

#[test]
fn who_takes_other_items_until_it_has_no_room_left_one_waiting() {
    let mut story = listening();
    story.put(1).wait_ms(500).put(2).claim(2).wait_ms(500).put(3).claim(3).flagged_by(&["G14"]);
}

#[test]
fn a_rescue_makes_room() {
    let mut story = story_with(|facts| facts.jobs[0].reentry = Reentry::Forbid);
    story.wait(31).hears().put(1).claim(1).start(1).put(2).claim(2).start(2).wait(31);
    story.put(8).wait(1).claim(8).is_fine();
    story.start(8).succeed(8).rescue(1, State::Dead).rescue(2, State::Dead);
    story.put(9).wait(1).claim(9).flagged_by(&["G14"]);
}

#[test]
fn what_an_operator_had_a_hand_in_is_not_followed() {
    let mut story = listening();
    story.put(1).put_off(1, 5_000).wait(100).claim(1).is_fine();
    let mut story = listening();
    story.put(1).cancel(1, transition::Cancelled::Now).wait(100).phase(Phase::Heal).is_fine();
    let mut story = listening();
    story.put(1).put(2).put_off(2, 0).cancel(2, transition::Cancelled::Now).wait(100).phase(Phase::Heal);
    story.flagged_by(&["G14"]);
}

#[test]
fn an_item_that_waits_for_too_long_is_told_once() {
    let mut story = listening();
    story.put(1).wait(100);
    struck(&mut story, "notices_doubled");
    story.claim(1).flagged_by(&["G14"]);
    assert_eq!(story.violations().len(), 1);
}

#[test]
fn who_takes_an_item_in_time_excuses_nobody_else() {
    let mut story = story();
    story.by(1).here(What::Booted { incarnation: incarnation(1) }).wait(31).hears();
    story.by(0).put(1).wait_ms(70_300).claim(1).flagged_by(&["G14"]);
    story.says("although replica-1 listened");
}

#[test]
fn an_item_that_is_taken_in_time_was_compared() {
    let compared = |due| {
        let mut story = listening();
        story.enqueue_as(1, |item| item.due = due).claim(1);
        story.compared("G14")
    };
    assert_eq!(compared(Due::AfterMs(0)), compared(Due::AfterMs(1)) + 1);
}
