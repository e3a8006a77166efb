//! The event lane: all hosts on one paused runtime whose time jumps to the next timer or message.

mod carrier;
mod fabric;
#[cfg(test)]
mod fabric_tests;
mod net;

pub(super) use carrier::ready;
