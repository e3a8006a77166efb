//! What is under way between hosts, and what becomes of it: messages arrive late, in order, or never. Knows hosts,
//! links and connections; not what a message says, nor who awaits it.
//!
//! It behaves as TCP does between hosts of one data centre, with two simplifications. A stream that lost a message is
//! dead: it delivers nothing any more and says nothing of it, where TCP would try again for minutes. Opening a
//! connection *is* tried again, after 1, 2, 4 … seconds, or nobody would get through after a short partition.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use crate::{
    chance,
    history::HostId,
    world::{clock::TrueTime, lane::LinkState, wire::Message},
};

/// One end of a connection: even for who dialled, the next odd one for who was dialled.
pub(super) type EndId = u64;

/// How often opening a connection is tried at most; 1 + 2 + … + 16 s.
const MAX_KNOCKS: u32 = 6;

pub(super) struct Fabric {
    seed: u64,
    /// Shortest and longest, in microseconds.
    latency_us: (u64, u64),
    truth: TrueTime,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    ends: Ends,
    next_end: EndId,
    listeners: BTreeMap<HostId, Backlog>,
    next_listener: u64,
    /// By what is lost or late: each direction of a link is on its own.
    links: BTreeMap<(HostId, HostId), Link>,
    /// Under way, in the order of arrival.
    flying: BTreeMap<(u64, u64), Parcel>,
    next_parcel: u64,
    /// Wakes the courier, who sleeps until `asleep_until_us`.
    courier: Option<Waker>,
    asleep_until_us: u64,
}

struct End {
    at: HostId,
    peer_at: HostId,
    open: bool,
    inbox: VecDeque<Box<Message>>,
    over: Option<io::ErrorKind>,
    reader: Option<Waker>,
    /// When the last message of this end arrives: none overtakes it.
    last_due_us: u64,
    /// A message of this end was lost: nothing of it arrives any more.
    lost: bool,
}

/// By their ids, which are given out in order: each message asks for several.
#[derive(Default)]
struct Ends(Vec<Option<Box<End>>>);

#[derive(Default)]
struct Backlog {
    number: u64,
    waiting: VecDeque<EndId>,
    acceptor: Option<Waker>,
}

#[derive(Default)]
struct Link {
    passes: Passes,
    sent: u64,
    held: Vec<Parcel>,
}

#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Passes {
    #[default]
    All,
    Nothing,
    Later,
}

struct Parcel {
    from: HostId,
    to: HostId,
    /// The end that it is for.
    end: EndId,
    freight: Freight,
}

enum Freight {
    /// Asks for a connection; with how often it was asked for before.
    Knock(u32),
    /// The connection is open.
    Welcome,
    Message(Box<Message>),
    /// The other end was closed.
    Goodbye,
    /// There is no such end, or nobody listens.
    Refusal,
}

impl Fabric {
    pub(super) fn new(seed: u64, (shortest, longest): (Duration, Duration), truth: TrueTime) -> Self {
        let us = |latency: Duration| u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        Self { seed, latency_us: (us(shortest), us(longest)), truth, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands over what has arrived by `now`; returns when the next parcel arrives. `courier` is woken when an earlier
    /// one is sent.
    pub(super) fn deliver(&self, now: Duration, courier: &Waker) -> Option<Duration> {
        let now_us = u64::try_from(now.as_micros()).unwrap_or(u64::MAX);
        let mut state = self.state();
        while let Some(entry) = state.flying.first_entry()
            && entry.key().0 <= now_us
        {
            let parcel = entry.remove();
            self.arrive(&mut state, parcel, now_us);
        }
        let next_us = state.flying.first_key_value().map(|((due_us, _), _)| *due_us);
        state.asleep_until_us = next_us.unwrap_or(u64::MAX);
        if !state.courier.as_ref().is_some_and(|known| known.will_wake(courier)) {
            state.courier = Some(courier.clone());
        }
        next_us.map(Duration::from_micros)
    }

    pub(super) fn dial(&self, from: HostId, to: HostId) -> EndId {
        let mut state = self.state();
        let id = state.next_end;
        state.next_end += 2;
        state.ends.insert(id, End::new(from, to));
        self.post(&mut state, Parcel { from, to, end: id ^ 1, freight: Freight::Knock(0) });
        id
    }

    pub(super) fn poll_opened(&self, id: EndId, cx: &Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.state();
        let Some(end) = state.ends.get_mut(id) else { return Poll::Ready(Err(io::ErrorKind::NotConnected.into())) };
        match end.over {
            _ if end.open => Poll::Ready(Ok(())),
            Some(_) => Poll::Ready(Err(io::ErrorKind::ConnectionRefused.into())),
            None => end.wait(cx),
        }
    }

    pub(super) fn send(&self, id: EndId, message: Box<Message>) -> io::Result<()> {
        let mut state = self.state();
        let Some(end) = state.ends.get(id) else { return Err(io::ErrorKind::NotConnected.into()) };
        if let Some(over) = end.over {
            return Err(over.into());
        }
        let (from, to) = (end.at, end.peer_at);
        self.post(&mut state, Parcel { from, to, end: id ^ 1, freight: Freight::Message(message) });
        Ok(())
    }

    pub(super) fn poll_received(&self, id: EndId, cx: &Context<'_>) -> Poll<io::Result<Box<Message>>> {
        let mut state = self.state();
        let Some(end) = state.ends.get_mut(id) else { return Poll::Ready(Err(io::ErrorKind::NotConnected.into())) };
        match (end.inbox.pop_front(), end.over) {
            (Some(message), _) => Poll::Ready(Ok(message)),
            (None, Some(over)) => Poll::Ready(Err(over.into())),
            (None, None) => end.wait(cx),
        }
    }

    /// Its owner dropped the end.
    pub(super) fn close(&self, id: EndId) {
        self.close_end(&mut self.state(), id);
    }

    fn close_end(&self, state: &mut State, id: EndId) {
        let Some(end) = state.ends.get(id) else { return };
        let (from, to) = (end.at, end.peer_at);
        self.post(state, Parcel { from, to, end: id ^ 1, freight: Freight::Goodbye });
        state.ends.remove(id);
    }

    pub(super) fn listen(&self, at: HostId) -> u64 {
        let mut state = self.state();
        let number = state.next_listener;
        state.next_listener += 1;
        state.listeners.insert(at, Backlog { number, ..Backlog::default() });
        number
    }

    pub(super) fn poll_accepted(&self, at: HostId, cx: &Context<'_>) -> Poll<EndId> {
        let mut state = self.state();
        let Some(backlog) = state.listeners.get_mut(&at) else { return Poll::Pending };
        if let Some(id) = backlog.waiting.pop_front() {
            return Poll::Ready(id);
        }
        backlog.acceptor = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Nobody listens any more; what nobody accepted is closed.
    pub(super) fn unlisten(&self, at: HostId, number: u64) {
        let mut state = self.state();
        if state.listeners.get(&at).is_some_and(|backlog| backlog.number == number) {
            let backlog = state.listeners.remove(&at).unwrap_or_default();
            for id in backlog.waiting {
                self.close_end(&mut state, id);
            }
        }
    }

    pub(super) fn set_link(&self, a: HostId, b: HostId, to: LinkState) {
        let (forth, back) = match to {
            LinkState::Up => (Passes::All, Passes::All),
            LinkState::Down => (Passes::Nothing, Passes::Nothing),
            LinkState::DownForth => (Passes::Nothing, Passes::All),
            LinkState::DownBack => (Passes::All, Passes::Nothing),
            LinkState::Held => (Passes::Later, Passes::Later),
        };
        let mut state = self.state();
        self.set_passes(&mut state, (a, b), forth);
        self.set_passes(&mut state, (b, a), back);
    }

    fn set_passes(&self, state: &mut State, direction: (HostId, HostId), passes: Passes) {
        let link = state.links.entry(direction).or_default();
        if link.passes == passes {
            return;
        }
        link.passes = passes;
        // What was held back before comes before what is under way now.
        let mut concerned = std::mem::take(&mut link.held);
        if passes != Passes::All {
            let flying = state.flying.extract_if(.., |_, parcel| (parcel.from, parcel.to) == direction);
            concerned.extend(flying.map(|(_, parcel)| parcel));
        }
        // An end that is closed by now remembers no order; all that is left of its stream is here.
        let mut order: BTreeMap<EndId, u64> = BTreeMap::new();
        for parcel in concerned {
            let last_due_us = order.entry(parcel.end).or_default();
            *last_due_us = self.post_after(state, parcel, *last_due_us);
        }
    }

    /// Sends a parcel on its way, or not.
    fn post(&self, state: &mut State, parcel: Parcel) {
        self.post_after(state, parcel, 0);
    }

    /// As `post`, to arrive at `earliest_us` or later; returns when it does, or `earliest_us` if that is not known.
    fn post_after(&self, state: &mut State, parcel: Parcel, earliest_us: u64) -> u64 {
        let sender = parcel.end ^ 1;
        if state.ends.get(sender).is_some_and(|end| end.lost) {
            return earliest_us;
        }
        let now_us = self.truth.now_us();
        let link = state.links.entry((parcel.from, parcel.to)).or_default();
        match link.passes {
            Passes::Nothing => {
                self.lose(state, parcel, now_us);
                earliest_us
            }
            Passes::Later => {
                link.held.push(parcel);
                earliest_us
            }
            Passes::All => {
                link.sent += 1;
                let direction = host_number(parcel.from) << 16 | host_number(parcel.to);
                let drawn = chance::draw(self.seed, "message", direction, link.sent);
                let latency_us = chance::between(drawn, self.latency_us.0, self.latency_us.1);
                let mut due_us = (now_us + latency_us).max(earliest_us);
                if let Some(end) = state.ends.get_mut(sender) {
                    due_us = due_us.max(end.last_due_us);
                    end.last_due_us = due_us;
                }
                state.fly(due_us, parcel);
                due_us
            }
        }
    }

    /// Nobody is told. Who dials tries again.
    fn lose(&self, state: &mut State, parcel: Parcel, now_us: u64) {
        let (dialler, knocks) = match parcel.freight {
            Freight::Knock(knocks) => (parcel.end ^ 1, knocks),
            Freight::Welcome => (parcel.end, 0),
            Freight::Message(_) | Freight::Goodbye | Freight::Refusal => {
                if let Some(end) = state.ends.get_mut(parcel.end ^ 1) {
                    end.lost = true;
                }
                return;
            }
        };
        if let Some(end) = state.ends.get(dialler)
            && knocks + 1 < MAX_KNOCKS
        {
            let again =
                Parcel { from: end.at, to: end.peer_at, end: dialler ^ 1, freight: Freight::Knock(knocks + 1) };
            state.fly(now_us + (1_000_000 << knocks), again);
        }
    }

    fn arrive(&self, state: &mut State, parcel: Parcel, now_us: u64) {
        let Parcel { from, to, end: id, freight } = parcel;
        // A repeated knock waited at home, not on the way.
        let passes = state.links.get(&(from, to)).map_or(Passes::All, |link| link.passes);
        if let Freight::Knock(knocks @ 1..) = freight
            && passes != Passes::All
        {
            return self.lose(state, Parcel { from, to, end: id, freight: Freight::Knock(knocks) }, now_us);
        }
        match freight {
            Freight::Knock(_) => self.knock(state, from, to, id),
            Freight::Welcome => {
                if let Some(end) = state.ends.get_mut(id) {
                    end.open = true;
                    end.wake();
                }
            }
            Freight::Message(message) => match state.ends.get_mut(id) {
                Some(end) => {
                    end.inbox.push_back(message);
                    end.wake();
                }
                None => self.post(state, Parcel { from: to, to: from, end: id ^ 1, freight: Freight::Refusal }),
            },
            Freight::Goodbye => state.end_of(id, io::ErrorKind::UnexpectedEof),
            Freight::Refusal => state.end_of(id, io::ErrorKind::ConnectionReset),
        }
    }

    fn knock(&self, state: &mut State, from: HostId, to: HostId, id: EndId) {
        let answer = if state.ends.get(id).is_some() {
            // Its welcome was lost, and it knocks again.
            Freight::Welcome
        } else if let Some(backlog) = state.listeners.get_mut(&to) {
            backlog.waiting.push_back(id);
            if let Some(acceptor) = backlog.acceptor.take() {
                acceptor.wake();
            }
            let end = End { open: true, ..End::new(to, from) };
            state.ends.insert(id, end);
            Freight::Welcome
        } else {
            Freight::Refusal
        };
        self.post(state, Parcel { from: to, to: from, end: id ^ 1, freight: answer });
    }
}

impl State {
    fn fly(&mut self, due_us: u64, parcel: Parcel) {
        self.next_parcel += 1;
        self.flying.insert((due_us, self.next_parcel), parcel);
        if due_us < self.asleep_until_us
            && let Some(courier) = &self.courier
        {
            self.asleep_until_us = due_us;
            courier.wake_by_ref();
        }
    }

    fn end_of(&mut self, id: EndId, over: io::ErrorKind) {
        if let Some(end) = self.ends.get_mut(id) {
            end.over = end.over.or(Some(over));
            end.wake();
        }
    }
}

impl Ends {
    fn get(&self, id: EndId) -> Option<&End> {
        self.0.get(place(id))?.as_deref()
    }

    fn get_mut(&mut self, id: EndId) -> Option<&mut End> {
        self.0.get_mut(place(id))?.as_deref_mut()
    }

    fn insert(&mut self, id: EndId, end: End) {
        let place = place(id);
        if place >= self.0.len() {
            self.0.resize_with(place + 1, || None);
        }
        self.0[place] = Some(Box::new(end));
    }

    fn remove(&mut self, id: EndId) {
        if let Some(place) = self.0.get_mut(place(id)) {
            *place = None;
        }
    }
}

fn place(id: EndId) -> usize {
    usize::try_from(id).expect("a run has fewer connections than memory has bytes")
}

impl End {
    const fn new(at: HostId, peer_at: HostId) -> Self {
        Self {
            at,
            peer_at,
            open: false,
            inbox: VecDeque::new(),
            over: None,
            reader: None,
            last_due_us: 0,
            lost: false,
        }
    }

    fn wait<T>(&mut self, cx: &Context<'_>) -> Poll<T> {
        if !self.reader.as_ref().is_some_and(|reader| reader.will_wake(cx.waker())) {
            self.reader = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    fn wake(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

fn host_number(host: HostId) -> u64 {
    match host {
        HostId::World => 0,
        HostId::Database => 1,
        HostId::Replica(number) => 0x100 | u64::from(number),
        HostId::Receiver(number) => 0x200 | u64::from(number),
    }
}
