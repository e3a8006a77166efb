//! Frames: a length and a JSON document. What a connection carries is decided by who is at its ends.

use std::io;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tourbillon::{
    model::{Incarnation, RequestId},
    store::{Reply, Request, StoreError},
};

use super::{
    application::{ApplicationReply, ApplicationRequest},
    net::BoxStream,
};
use crate::history::{CallAnswer, Effect, OutsideCall};

/// Longest frame. Far above the largest batch; a longer one is a bug, not a message.
const MAX_FRAME: u32 = 64 * 1024 * 1024;

/// To the database.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Ask {
    /// Which replica; sessions know who is at the other end.
    pub(super) replica: u8,
    pub(super) asked: Asked,
}

/// What the database is asked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Asked {
    /// By the scheduler, of its own rows.
    Store(Request),
    /// By user code, of the application's rows.
    Application(ApplicationRequest),
}

impl Asked {
    pub(super) fn id(&self) -> RequestId {
        match self {
            Self::Store(request) => request.id,
            Self::Application(request) => request.id,
        }
    }

    /// The store request in it, if there is one.
    pub(super) fn request(&self) -> Option<&Request> {
        match self {
            Self::Store(request) => Some(request),
            Self::Application(request) => request.with.as_ref(),
        }
    }
}

/// What it answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Answered {
    Store(Reply),
    Application(ApplicationReply),
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

pub(super) async fn send<T: Serialize>(stream: &mut BoxStream, message: &T) -> io::Result<()> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, message)?;
    let len = u32::try_from(frame.len() - 4).map_err(io::Error::other)?;
    frame[..4].copy_from_slice(&len.to_be_bytes());
    stream.write_all(&frame).await
}

pub(super) async fn receive<T: DeserializeOwned>(stream: &mut BoxStream) -> io::Result<T> {
    let len = stream.read_u32().await?;
    if len > MAX_FRAME {
        return Err(io::Error::other(format!("frame of {len} bytes")));
    }
    let mut frame = vec![0; len as usize];
    stream.read_exact(&mut frame).await?;
    Ok(serde_json::from_slice(&frame)?)
}
