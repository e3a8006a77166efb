//! Owns the judgement of one execution's life from what the calls about it were told: G1, G2, G3, and that no holder
//! of a lease was refused. Knows no store.

use std::collections::{BTreeMap, BTreeSet};

use tourbillon::model::{
    Execution, ExecutionId, Fence, Generation, LeaseRef, Limit, Outcome, Retry, State, Timestamp, Token,
    transition::{CANCELLED_UNACKNOWLEDGED, LEASE_EXPIRED},
};

use super::log::{Application, Deed, Event, Write};

/// One claim and all that happened under it.
#[derive(Debug)]
struct Attempt {
    lease: LeaseRef,
    generation: Generation,
    claimed_at: Timestamp,
    /// The latest expiry that a reply promised.
    expires_at: Timestamp,
    row: Execution,
    deeds: Vec<Event>,
    end: Option<(Timestamp, State)>,
}

/// A span in which the execution was running, for the overlap limits.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) limit: Limit,
    pub(crate) from: Timestamp,
    /// Exclusive; `None`: it never ended.
    pub(crate) to: Option<Timestamp>,
}

/// What one execution's events amount to.
#[derive(Debug, Default)]
pub(crate) struct Judged {
    pub(crate) findings: Vec<String>,
    pub(crate) spans: Vec<Span>,
    pub(crate) claims: usize,
    pub(crate) settles: usize,
    /// Claims that no reply names. What came of such a row is told in part, and not judged further.
    pub(crate) unheard: usize,
}

/// What a judgement needs besides the events.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Surroundings<'a> {
    pub(crate) id: ExecutionId,
    /// All its generations in the final listing.
    pub(crate) end: &'a [Execution],
    /// How many cancels were told `Now`.
    pub(crate) cancelled_now: usize,
    /// Calls of a rescue had no answer, so rows may have been ended that no reply names.
    pub(crate) rescues_unanswered: bool,
    /// Claims were answered late, so there may be some that no reply names.
    pub(crate) claims_unheard: bool,
}

impl Surroundings<'_> {
    /// When the listing says that this generation ended.
    fn finished_at(&self, generation: Generation) -> Option<Timestamp> {
        let row = self.end.iter().find(|row| row.generation == generation && row.state.is_terminal())?;
        row.finished_at
    }
}

/// Judges one execution. Findings open with the number of the guarantee.
pub(crate) fn judge(around: Surroundings<'_>, events: &[Event]) -> Judged {
    let mut judged = Judged::default();
    let mut attempts = attempts(around, events, &mut judged);
    judged.claims = attempts.len();
    judged.settles = events.iter().filter(|event| matches!(event.deed, Deed::Settled(..))).count();
    if judged.unheard == 0 {
        attach(around, &mut attempts, events, &mut judged);
        let attempts: Vec<Attempt> = attempts.into_values().collect();
        leases(around, &attempts, &mut judged);
        terminal_transitions(around, &attempts, events, &mut judged);
        charges(around, &attempts, events, &mut judged);
        refusals(around, &attempts, events, &mut judged);
        judged.spans = spans(around, &attempts);
    }
    judged.findings.iter_mut().for_each(|finding| finding.push_str(&format!(" (execution {})", around.id)));
    judged
}

/// The claims by fence (G1: numbers grow by one with each claim, tokens are new).
fn attempts(around: Surroundings<'_>, events: &[Event], judged: &mut Judged) -> BTreeMap<Fence, Attempt> {
    let mut attempts = BTreeMap::new();
    let mut tokens: BTreeSet<Token> = BTreeSet::new();
    for event in events {
        let Deed::Claimed(row) = &event.deed else { continue };
        let Some(lease) = row.lease_ref() else {
            judged.findings.push(format!("G1: a claim at {} returned a row that does not run: {row:?}", event.at));
            continue;
        };
        if !tokens.insert(lease.token) {
            judged.findings.push(format!("G1: token {} was given out twice", lease.token));
        }
        let attempt = Attempt {
            lease,
            generation: row.generation,
            claimed_at: event.at,
            expires_at: row.lease.as_ref().map_or(event.at, |lease| lease.expires_at),
            row: (**row).clone(),
            deeds: Vec::new(),
            end: None,
        };
        if attempts.insert(lease.fence, attempt).is_some() {
            judged.findings.push(format!("G1: fence {} was given out twice", lease.fence));
        }
    }
    let last = around.end.iter().map(|row| row.fence.0).max().unwrap_or(0);
    let missing = (1..=last).filter(|fence| !attempts.contains_key(&Fence(*fence))).count();
    if around.claims_unheard {
        judged.unheard = missing;
    } else if missing > 0 {
        judged.findings.push(format!("G1: {missing} of the fences 1 to {last} are in no claim's reply"));
    }
    if let Some(beyond) = attempts.keys().find(|fence| fence.0 > last) {
        judged
            .findings
            .push(format!("G1: fence {beyond} was given out, and the end knows only {last}: it went back"));
    }
    attempts
}

/// Sorts what was accepted under its claim.
fn attach(around: Surroundings<'_>, attempts: &mut BTreeMap<Fence, Attempt>, events: &[Event], judged: &mut Judged) {
    for event in events {
        let attempt = match &event.deed {
            Deed::Started(lease, ..) | Deed::Renewed(lease, _) | Deed::Settled(lease, ..) => {
                let attempt = attempts.get_mut(&lease.fence).filter(|attempt| attempt.lease == *lease);
                if attempt.is_none() {
                    judged
                        .findings
                        .push(format!("G1: {:?} was accepted under a lease that no claim gave", event.deed));
                }
                attempt
            }
            Deed::Ended(_) => attempts.values_mut().rev().find(|attempt| attempt.claimed_at <= event.at),
            Deed::Claimed(_) | Deed::Skipped | Deed::Refused(..) => None,
        };
        let Some(attempt) = attempt else { continue };
        match &event.deed {
            Deed::Settled(_, _, state) | Deed::Ended(state) => {
                if let Some((at, _)) = attempt.end.replace((event.at, *state)) {
                    let fence = attempt.lease.fence;
                    judged.findings.push(format!("G2: attempt {fence} ended at {at} and again at {}", event.at));
                }
            }
            _ => {}
        }
        renew(attempt, event);
        attempt.deeds.push(event.clone());
    }
    // An end that no reply names: the rescue that made it had no answer.
    for attempt in attempts.values_mut().rev().take(1).filter(|_| around.rescues_unanswered) {
        if attempt.end.is_none() {
            attempt.end = around.finished_at(attempt.generation).map(|at| (at, State::Dead));
        }
    }
}

fn renew(attempt: &mut Attempt, event: &Event) {
    let first_start = !attempt.deeds.iter().any(|event| matches!(event.deed, Deed::Started(..)))
        && attempt.row.lease.as_ref().is_some_and(|lease| lease.started_at.is_none());
    let until = match &event.deed {
        Deed::Renewed(_, expires_at) => *expires_at,
        Deed::Started(_, _, Application::Now) if first_start => {
            event.at + std::time::Duration::from_millis(attempt.row.policy.lease_ms)
        }
        _ => return,
    };
    attempt.expires_at = attempt.expires_at.max(until);
}

/// G1: a claim only after the attempt before it ended or its lease expired; G8: nothing accepted afterwards.
fn leases(around: Surroundings<'_>, attempts: &[Attempt], judged: &mut Judged) {
    for (n, attempt) in attempts.iter().enumerate() {
        let fence = attempt.lease.fence;
        let next = attempts.get(n + 1);
        for event in &attempt.deeds {
            let late = next.is_some_and(|next| event.at > next.claimed_at);
            let after_end = attempt.end.is_some_and(|(end, _)| event.at > end);
            if event.at < attempt.claimed_at || late || after_end {
                judged.findings.push(format!("G1: attempt {fence} was over and this was accepted: {event:?}"));
            }
        }
        let Some(next) = next else { continue };
        let ended = attempt.end.map(|(at, _)| at).or_else(|| {
            let over = around.finished_at(attempt.generation);
            over.filter(|_| next.generation > attempt.generation)
        });
        let free = ended.map_or(attempt.expires_at < next.claimed_at, |end| end <= next.claimed_at);
        if !free {
            judged.findings.push(format!(
                "G1: claim {} at {} while attempt {fence} held its lease until {} and ended {ended:?}",
                next.lease.fence, next.claimed_at, attempt.expires_at
            ));
        }
    }
}

/// G2: each generation of the listing is the work of exactly one accepted terminal transition, and the other way round.
fn terminal_transitions(around: Surroundings<'_>, attempts: &[Attempt], events: &[Event], judged: &mut Judged) {
    let mut open: Vec<&Execution> = around.end.iter().filter(|row| row.state.is_terminal()).collect();
    for event in events {
        let (state, generation) = match &event.deed {
            Deed::Settled(lease, _, state) if state.is_terminal() => {
                let attempt = attempts.iter().find(|attempt| attempt.lease == *lease);
                (*state, attempt.map(|attempt| attempt.generation))
            }
            Deed::Ended(state) => (*state, None),
            Deed::Skipped => (State::Skipped, None),
            _ => continue,
        };
        let matches = |row: &&Execution| {
            row.finished_at == Some(event.at)
                && row.state == state
                && generation.is_none_or(|generation| row.generation == generation)
        };
        match open.iter().position(matches) {
            Some(n) => drop(open.remove(n)),
            None => judged.findings.push(format!("G2: acknowledged, and not (or twice) in history: {event:?}")),
        }
    }
    let mut cancelled = 0;
    for row in open {
        let text = row.error.as_ref().map(|error| error.text.as_str());
        match text {
            Some(LEASE_EXPIRED | CANCELLED_UNACKNOWLEDGED) if around.rescues_unanswered => {}
            _ if row.state == State::Cancelled => cancelled += 1,
            _ => judged.findings.push(format!("G2: nobody was told of this end: {row:?}")),
        }
    }
    if cancelled != around.cancelled_now {
        let told = around.cancelled_now;
        judged.findings.push(format!("G2: {told} cancels were told `now`, history has {cancelled} of their ends"));
    }
    for generation in around.end.iter().filter_map(|row| row.state.is_terminal().then_some(row.generation)) {
        let over = around.finished_at(generation);
        let late = |attempt: &&Attempt| attempt.generation == generation && over < Some(attempt.claimed_at);
        if let Some(attempt) = attempts.iter().find(late) {
            let fence = attempt.lease.fence;
            judged.findings.push(format!("G2: claim {fence} of generation {generation} after its end at {over:?}"));
        }
    }
}

/// G3: charged attempts never exceed the budget; due times, retries and snoozes are waited for.
fn charges(around: Surroundings<'_>, attempts: &[Attempt], events: &[Event], judged: &mut Judged) {
    let mut generation = None;
    let (mut charged, mut uncertain, mut not_before) = (0, false, Timestamp::from_micros(i64::MIN));
    for attempt in attempts {
        let fence = attempt.lease.fence;
        let budget = attempt.row.policy.max_attempts;
        if generation != Some(attempt.generation) {
            (generation, charged, uncertain, not_before) = (Some(attempt.generation), 0, false, attempt.row.due_at);
        }
        if attempt.claimed_at < not_before {
            judged.findings.push(format!("G3: claim {fence} at {} is before {not_before}", attempt.claimed_at));
        }
        let at_claim = u32::from(attempt.row.lease.as_ref().is_some_and(|lease| lease.started_at.is_some()));
        let before = attempt.row.attempt - at_claim;
        if before != charged && !(uncertain && before == charged + 1) {
            judged
                .findings
                .push(format!("G3: claim {fence} shows {before} charged attempts, {charged} were charged"));
        }
        charged = before + at_claim;
        let mut started = at_claim == 1;
        for event in &attempt.deeds {
            match &event.deed {
                Deed::Started(_, number, _) => {
                    charged += u32::from(!started);
                    started = true;
                    if *number != charged {
                        let told = format!("G3: start of claim {fence} was told attempt {number}");
                        judged.findings.push(format!("{told}, {charged} are charged"));
                    }
                }
                Deed::Settled(_, outcome, state) if !state.is_terminal() => {
                    let given_back = matches!(outcome, Outcome::Released | Outcome::Snoozed { .. });
                    charged -= u32::from(given_back && started);
                    not_before = event.at + std::time::Duration::from_millis(wait_ms(outcome));
                }
                _ => {}
            }
        }
        if charged > budget {
            judged.findings.push(format!("G3: claim {fence} makes {charged} charged attempts of {budget}"));
        }
        // Refused on repetition, after a first try that may have been applied.
        uncertain = events.iter().any(|event| {
            matches!(&event.deed, Deed::Refused(lease, Write::Start, Application::MaybeBefore) if *lease == attempt.lease)
        });
    }
    for row in around.end.iter().filter(|row| row.attempt > row.policy.max_attempts) {
        judged.findings.push(format!("G3: {} attempts of {}: {row:?}", row.attempt, row.policy.max_attempts));
    }
}

fn wait_ms(outcome: &Outcome) -> u64 {
    match outcome {
        Outcome::Failed { retry: Retry::AfterMs(ms), .. } | Outcome::Snoozed { for_ms: ms } => *ms,
        _ => 0,
    }
}

/// A lease is lost only to a later claim or to the end of the generation (G8: an expired one may still finish).
fn refusals(around: Surroundings<'_>, attempts: &[Attempt], events: &[Event], judged: &mut Judged) {
    for event in events {
        let Deed::Refused(lease, write, _) = &event.deed else { continue };
        let taken = attempts.iter().any(|other| other.lease.fence > lease.fence && other.claimed_at <= event.at);
        let Some(attempt) = attempts.iter().find(|attempt| attempt.lease == *lease) else { continue };
        let ended = attempt.end.is_some_and(|(at, _)| at <= event.at)
            || around.finished_at(attempt.generation).is_some_and(|at| at <= event.at);
        let expired =
            *write == Write::Start && attempt.row.lease.as_ref().is_some_and(|lease| lease.expires_at < event.at);
        if !(taken || ended || expired) {
            judged.findings.push(format!(
                "G8: {write:?} of attempt {} was refused at {} without a cause",
                lease.fence, event.at
            ));
        }
    }
}

/// From entering running to leaving it; a claim that takes over an expired lease does neither.
fn spans(around: Surroundings<'_>, attempts: &[Attempt]) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    let mut running = false;
    for (n, attempt) in attempts.iter().enumerate() {
        let Some(limit) = attempt.row.policy.limit.clone() else { continue };
        if !running {
            spans.push(Span { limit, from: attempt.claimed_at, to: None });
        }
        let last_of_generation = attempts.get(n + 1).is_none_or(|next| next.generation > attempt.generation);
        let ended = attempt.end.map(|(at, _)| at);
        let ended = ended.or_else(|| around.finished_at(attempt.generation).filter(|_| last_of_generation));
        running = ended.is_none();
        if let Some(span) = spans.last_mut() {
            span.to = ended;
        }
    }
    spans
}
