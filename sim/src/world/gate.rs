//! A gate around every task of a process: open, paused, or dead for good.
//!
//! A pause is a gate that lets nothing through: timers fire and messages arrive meanwhile, and everything that is
//! late happens at once when it opens. A power loss is a gate that never opens again.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Waker},
};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mode {
    Open,
    Paused,
    Dead,
}

#[derive(Clone)]
pub(super) struct Gate(Arc<Mutex<State>>);

struct State {
    mode: Mode,
    waiting: Vec<Waker>,
}

impl Gate {
    pub(super) fn open() -> Self {
        Self(Arc::new(Mutex::new(State { mode: Mode::Open, waiting: Vec::new() })))
    }

    fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn mode(&self) -> Mode {
        self.with(|state| state.mode)
    }

    /// Closes it, unless it is dead.
    pub(super) fn pause(&self) {
        self.with(|state| {
            if state.mode == Mode::Open {
                state.mode = Mode::Paused;
            }
        });
    }

    /// Opens it again, unless it is dead; everything that waited is polled.
    pub(super) fn resume(&self) {
        let waiting = self.with(|state| {
            if state.mode == Mode::Paused {
                state.mode = Mode::Open;
            }
            std::mem::take(&mut state.waiting)
        });
        for waker in waiting {
            waker.wake();
        }
    }

    /// Closes it for good.
    pub(super) fn kill(&self) {
        self.with(|state| {
            state.mode = Mode::Dead;
            state.waiting.clear();
        });
    }

    /// Puts a task behind the gate.
    pub(super) fn guard<F: Future + ?Sized>(&self, task: Pin<Box<F>>) -> Gated<F> {
        Gated { gate: self.clone(), task }
    }
}

pub(super) struct Gated<F: ?Sized> {
    gate: Gate,
    task: Pin<Box<F>>,
}

impl<F: Future + ?Sized> Future for Gated<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let passes = self.gate.with(|state| {
            if state.mode == Mode::Paused {
                state.waiting.push(cx.waker().clone());
            }
            state.mode == Mode::Open
        });
        if passes { self.task.as_mut().poll(cx) } else { Poll::Pending }
    }
}
