//! Who is on the other end: the operator's outside receivers, and how each behaves. Knows no loop.

use std::time::Duration;

use super::tables::Channel;
use crate::world::ReceiverSpec;

/// An outside receiver, by its number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub(crate) enum Outside {
    /// Takes e-mail. Knows no idempotency key: what arrives twice is read twice.
    Mail = 0,
    /// A web hook that recognises repetitions.
    Hook = 1,
    /// A pager that recognises repetitions.
    Pager = 2,
    /// Issues certificates and signs lists; slow; recognises repetitions.
    Signer = 3,
    /// A cloud's API: every call is billed.
    Cloud = 4,
    /// Hosts that are probed; some are down.
    Scanned = 5,
}

impl Outside {
    /// All of them, in the order of their numbers.
    pub(crate) const ALL: [Self; 6] = [Self::Mail, Self::Hook, Self::Pager, Self::Signer, Self::Cloud, Self::Scanned];

    /// How it behaves.
    pub(crate) const fn spec(self) -> ReceiverSpec {
        let (deduplicates, fails_percent, takes_ms) = match self {
            Self::Mail => (false, 8, 200),
            Self::Hook => (true, 8, 300),
            Self::Pager => (true, 2, 200),
            Self::Signer => (true, 5, 2_000),
            Self::Cloud => (false, 0, 1_000),
            Self::Scanned => (false, 20, 400),
        };
        ReceiverSpec {
            fences: false,
            deduplicates,
            fails_percent,
            takes: Duration::from_millis(takes_ms),
            behaviour: None,
        }
    }
}

impl From<Channel> for Outside {
    fn from(channel: Channel) -> Self {
        match channel {
            Channel::Mail => Self::Mail,
            Channel::Hook => Self::Hook,
            Channel::Pager => Self::Pager,
        }
    }
}
