//! What events are about, so that a checker walks past those that it does not ask for without looking at them: a history
//! is larger than what a core holds near, and two dozen checkers walk through it. Says nothing about right and wrong.

use crate::history::{Event, What};

/// What an event is about. A call is about its verb, at whichever of its stages: sent, carried out or answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Topic {
    Claim,
    Start,
    Heartbeat,
    Settle,
    /// A plan, or what is read for one.
    Plan,
    /// A lock is taken, renewed or given back.
    Lock,
    /// Any other call.
    Call,
    /// A transaction of the application.
    Application,
    /// A stage of a unit of work.
    Stage,
    /// All the rest: handlers and ticks, effects, faults, clocks, the end.
    Other,
}

impl Topic {
    /// All calls, and the rest: what a scheduler does.
    pub(super) const CALLS_AND_OTHER: &[Self] =
        &[Self::Claim, Self::Start, Self::Heartbeat, Self::Settle, Self::Plan, Self::Lock, Self::Call, Self::Other];

    fn of(what: &What) -> Self {
        match what {
            What::Invoked { verb, .. } | What::Answered { verb, .. } => Self::of_verb(verb),
            What::Applied { request, .. } => Self::of_verb(request.verb.name()),
            What::ApplicationApplied { .. } => Self::Application,
            What::Staged { .. } => Self::Stage,
            _ => Self::Other,
        }
    }

    fn of_verb(name: &str) -> Self {
        match name {
            "claim" => Self::Claim,
            "start" => Self::Start,
            "heartbeat" => Self::Heartbeat,
            "settle" => Self::Settle,
            "plan" | "read_cursors" => Self::Plan,
            "acquire_lock" | "renew_lock" | "release_lock" => Self::Lock,
            _ => Self::Call,
        }
    }

    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// The topics of a history.
pub(super) struct Topics(Vec<Topic>);

impl Topics {
    pub(super) fn of(events: &[Event]) -> Self {
        Self(events.iter().map(|event| Topic::of(&event.what)).collect())
    }

    /// The numbers of the events that are about any of `wanted`, in their order.
    pub(super) fn about<'t>(&'t self, wanted: &[Topic]) -> impl Iterator<Item = usize> + use<'t> {
        let wanted = wanted.iter().fold(0, |bits, topic| bits | topic.bit());
        let topics = self.0.iter().enumerate();
        topics.filter(move |(_, topic)| topic.bit() & wanted != 0).map(|(event, _)| event)
    }
}

#[cfg(test)]
mod tests {
    use tourbillon::store::Verb;

    use super::Topic;

    /// A verb that is renamed would be about something else, and its checkers would see nothing.
    #[test]
    fn what_has_a_topic_of_its_own_is_a_verb() {
        let own = Verb::NAMES.iter().filter(|name| Topic::of_verb(name) != Topic::Call);
        assert_eq!(own.count(), 9);
    }
}
