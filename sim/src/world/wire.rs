//! What connections carry. What a message says is decided by who is at the ends; how it travels, by the lane.

use std::{io, sync::Arc};

use serde::{Deserialize, Serialize};
use tourbillon::{
    model::{Incarnation, RequestId},
    store::{Notice, Reply, Request, StoreError},
};

use super::{
    application::{ApplicationReply, ApplicationRequest},
    net::BoxConnection,
};
use crate::history::{CallAnswer, Effect, OutsideCall};

/// To the database.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Ask {
    /// Which replica; sessions know who is at the other end.
    pub(super) replica: u8,
    pub(super) asked: Asked,
}

/// What application verbs are called in invocations and triggers.
pub(crate) const APPLICATION: &str = "application";

/// What the database is asked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Asked {
    /// By the scheduler, of its own rows.
    Store(Arc<Request>),
    /// By user code, of the application's rows.
    Application(Arc<ApplicationRequest>),
    /// To be told what becomes due, on this connection from now on.
    Listen,
    /// Whether this connection is still good, where the replica listens.
    Probe,
}

impl Asked {
    /// `None` for what is no request.
    pub(super) fn id(&self) -> Option<RequestId> {
        match self {
            Self::Store(request) => Some(request.id),
            Self::Application(request) => Some(request.id),
            Self::Listen | Self::Probe => None,
        }
    }

    /// What triggers call it by: the verb of the store, or `application`.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Store(request) => request.verb.name(),
            Self::Application(_) => APPLICATION,
            Self::Listen | Self::Probe => "listen",
        }
    }

    /// The store request in it, if there is one.
    pub(super) fn request(&self) -> Option<&Request> {
        match self {
            Self::Store(request) => Some(request),
            Self::Application(request) => request.with.as_ref(),
            Self::Listen | Self::Probe => None,
        }
    }
}

/// What it answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Answered {
    Store(Reply),
    Application(ApplicationReply),
    /// To a replica that listens or probes.
    Heard,
    /// To a replica that listens, unasked.
    Notice(Notice),
}

/// From the database.
pub(super) type Told = Result<Answered, StoreError>;

/// To a receiver.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Deliver {
    pub(super) replica: u8,
    pub(super) sent: Sent,
    /// What triggers that aim at one job or row may wait for.
    pub(super) subject: String,
    /// The unit of work that sends it, if one was begun.
    pub(super) unit: Option<UnitTag>,
}

/// What is sent to a receiver.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Sent {
    /// By an attempt, counted by its execution.
    Effect(Effect),
    /// By anything.
    Call { incarnation: Incarnation, call: OutsideCall },
}

/// A unit of work, as messages name it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct UnitTag {
    pub(super) incarnation: Incarnation,
    pub(super) row: String,
    pub(super) unit: String,
}

/// From a receiver.
pub(super) type Delivered = CallAnswer;

macro_rules! messages {
    ($($name:ident),*) => {
        /// Anything that a connection carries.
        #[derive(Clone, Debug, Serialize, Deserialize)]
        pub(super) enum Message { $($name($name),)* }

        $(impl Carried for $name {
            fn wrap(self) -> Box<Message> {
                Box::new(Message::$name(self))
            }

            fn unwrap(message: Box<Message>) -> Option<Self> {
                if let Message::$name(content) = *message { Some(content) } else { None }
            }
        })*
    };
}

messages! { Ask, Told, Deliver, Delivered }

/// One sort of message. Boxed from end to end: on its way it is moved many times.
pub(super) trait Carried: Sized {
    fn wrap(self) -> Box<Message>;
    fn unwrap(message: Box<Message>) -> Option<Self>;
}

pub(super) async fn send(connection: &mut BoxConnection, message: impl Carried) -> io::Result<()> {
    connection.send(message.wrap()).await
}

/// The next message; an error if it is of another sort.
pub(super) async fn receive<T: Carried>(connection: &mut BoxConnection) -> io::Result<T> {
    T::unwrap(connection.receive().await?).ok_or_else(|| io::Error::other("a message of another sort"))
}
