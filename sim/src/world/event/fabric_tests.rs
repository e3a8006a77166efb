//! That connections of the event lane behave as promised: late, in order, or never.

use std::{
    io,
    task::{Context, Poll, Waker},
    time::Duration,
};

use super::fabric::{EndId, Fabric};
use crate::{
    history::{CallAnswer, HostId},
    world::{
        clock::TrueTime,
        lane::LinkState,
        wire::{Carried, Message},
    },
};

const HERE: HostId = HostId::Replica(0);
const THERE: HostId = HostId::Database;
/// Longer than the longest latency, shorter than the first repetition of a knock.
const SOON: Duration = Duration::from_millis(60);

struct Bench {
    truth: TrueTime,
    fabric: Fabric,
    now: Duration,
}

impl Bench {
    fn new() -> Self {
        let truth = TrueTime::new(|| None);
        let latency = (Duration::from_millis(1), Duration::from_millis(50));
        Self { fabric: Fabric::new(7, latency, truth.clone()), truth, now: Duration::ZERO }
    }

    fn wait(&mut self, long: Duration) {
        let until = self.now + long;
        while let Some(next) = self.fabric.deliver(self.now, Waker::noop())
            && next <= until
        {
            self.now = next;
            self.truth.set(u64::try_from(next.as_micros()).expect("a short test"));
        }
        self.now = until;
        self.truth.set(u64::try_from(until.as_micros()).expect("a short test"));
    }

    /// A connection from here to there: both ends.
    fn connect(&mut self) -> (EndId, EndId) {
        self.fabric.listen(THERE);
        let dialled = self.fabric.dial(HERE, THERE);
        self.wait(2 * SOON);
        assert!(matches!(self.opened(dialled), Poll::Ready(Ok(()))));
        let Poll::Ready(accepted) = self.accepted() else { panic!("nothing was accepted") };
        (dialled, accepted)
    }

    fn opened(&self, end: EndId) -> Poll<io::Result<()>> {
        self.fabric.poll_opened(end, &Context::from_waker(Waker::noop()))
    }

    fn accepted(&self) -> Poll<EndId> {
        self.fabric.poll_accepted(THERE, &Context::from_waker(Waker::noop()))
    }

    fn send(&self, end: EndId, done: bool) {
        self.fabric.send(end, message(done)).expect("the end is open");
    }

    /// Everything that can be received now, and how it ends if it does.
    fn received(&self, end: EndId) -> (Vec<bool>, Option<io::ErrorKind>) {
        let mut all = Vec::new();
        loop {
            match self.fabric.poll_received(end, &Context::from_waker(Waker::noop())) {
                Poll::Ready(Ok(message)) => {
                    all.extend(CallAnswer::unwrap(message).map(|answer| answer == CallAnswer::Done));
                }
                Poll::Ready(Err(error)) => return (all, Some(error.kind())),
                Poll::Pending => return (all, None),
            }
        }
    }
}

fn message(done: bool) -> Box<Message> {
    if done { CallAnswer::Done } else { CallAnswer::Failed }.wrap()
}

/// Messages that can be told apart, in an order that no accident has.
const SENT: [bool; 12] = [true, false, false, true, true, true, false, true, false, false, false, true];

#[test]
fn messages_arrive_later_than_now_and_in_order() {
    let mut bench = Bench::new();
    let (here, there) = bench.connect();
    SENT.iter().for_each(|one| bench.send(here, *one));
    assert_eq!(bench.received(there), (vec![], None));
    bench.wait(SOON);
    assert_eq!(bench.received(there), (SENT.to_vec(), None));
}

#[test]
fn a_partition_loses_what_is_under_way_and_the_stream_with_it() {
    let mut bench = Bench::new();
    let (here, there) = bench.connect();
    bench.send(here, true);
    bench.fabric.set_link(HERE, THERE, LinkState::Down);
    bench.fabric.set_link(HERE, THERE, LinkState::Up);
    bench.send(here, false);
    bench.fabric.close(here);
    bench.wait(10 * SOON);
    assert_eq!(bench.received(there), (vec![], None), "not even a goodbye");
    let (again, _) = bench.connect();
    assert!(again != here);
}

#[test]
fn a_one_way_partition_lets_the_other_way_pass() {
    let mut bench = Bench::new();
    let (here, there) = bench.connect();
    bench.fabric.set_link(HERE, THERE, LinkState::DownBack);
    bench.send(here, true);
    bench.send(there, true);
    bench.wait(SOON);
    assert_eq!((bench.received(there).0, bench.received(here).0), (vec![true], vec![]));
}

#[test]
fn a_hold_delivers_everything_late_and_in_order() {
    let mut bench = Bench::new();
    let (here, there) = bench.connect();
    let (before, after) = SENT.split_at(6);
    before.iter().for_each(|one| bench.send(here, *one));
    bench.fabric.set_link(HERE, THERE, LinkState::Held);
    after.iter().for_each(|one| bench.send(here, *one));
    bench.fabric.close(here);
    bench.wait(100 * SOON);
    assert_eq!(bench.received(there), (vec![], None));
    bench.fabric.set_link(HERE, THERE, LinkState::Up);
    bench.wait(SOON);
    assert_eq!(bench.received(there), (SENT.to_vec(), Some(io::ErrorKind::UnexpectedEof)));
}

#[test]
fn a_closed_end_is_told_of_and_what_is_sent_to_it_is_refused() {
    let mut bench = Bench::new();
    let (here, there) = bench.connect();
    bench.send(there, true);
    bench.fabric.close(here);
    bench.wait(2 * SOON);
    let (nothing, over) = bench.received(there);
    assert!(nothing.is_empty() && over.is_some());
    assert!(bench.fabric.send(there, message(true)).is_err());
}

#[test]
fn nobody_listens_and_the_dialler_is_refused() {
    let mut bench = Bench::new();
    let dialled = bench.fabric.dial(HERE, THERE);
    bench.wait(2 * SOON);
    assert!(
        matches!(bench.opened(dialled), Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused)
    );
}

#[test]
fn who_dials_into_a_partition_gets_through_when_it_is_over() {
    for lost in [LinkState::Down, LinkState::DownForth, LinkState::DownBack] {
        let mut bench = Bench::new();
        bench.fabric.listen(THERE);
        bench.fabric.set_link(HERE, THERE, lost);
        let dialled = bench.fabric.dial(HERE, THERE);
        bench.wait(Duration::from_millis(2_500));
        assert!(bench.opened(dialled).is_pending(), "{lost:?}");
        bench.fabric.set_link(HERE, THERE, LinkState::Up);
        bench.wait(Duration::from_millis(1_500));
        assert!(matches!(bench.opened(dialled), Poll::Ready(Ok(()))), "{lost:?}");
        assert!(bench.accepted().is_ready() && bench.accepted().is_pending(), "one connection, not one per knock");
    }
}

#[test]
fn a_listener_that_goes_says_goodbye_for_those_it_did_not_accept() {
    let mut bench = Bench::new();
    let number = bench.fabric.listen(THERE);
    let dialled = bench.fabric.dial(HERE, THERE);
    bench.wait(2 * SOON);
    bench.fabric.unlisten(THERE, number);
    bench.wait(SOON);
    assert_eq!(bench.received(dialled).1, Some(io::ErrorKind::UnexpectedEof));
}
