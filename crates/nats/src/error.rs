//! The errors that stop a relay. A failure that may pass by itself is retried.

use std::path::PathBuf;

use async_nats::ConnectError;
use shmpipe::{Broken, OpenError};
use thiserror::Error;

use crate::log::LogError;
use crate::record::RecordError;

/// Why a relay stopped. Stopping loses nothing: what was not released stays in its ring, and
/// what was not trimmed stays in the log.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The name of the stream cannot be part of a subject.
    #[error("{name:?} cannot name a stream: use 1 to 64 letters, digits, - and _")]
    Name {
        /// The name.
        name: String,
    },
    /// The ring could not be opened, for example because it does not persist.
    #[error("the ring cannot be opened: {0}")]
    Open(#[from] OpenError),
    /// The ring cannot be used any more.
    #[error("the ring cannot be used: {0}")]
    Ring(#[from] Broken),
    /// The broker refuses the connection, or its address is not valid.
    #[error("no connection to the broker: {0}")]
    Connect(#[from] ConnectError),
    /// A file of credentials or certificates cannot be used.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The broker has no JetStream, or not for this account.
    #[error("the broker has no JetStream for this account: {0}")]
    NoJetStream(String),
    /// The broker forbids what a relay needs.
    #[error("the broker forbids this: {0}")]
    Forbidden(String),
    /// There is no such stream, and this relay may not create it.
    #[error("there is no stream {0}")]
    NoStream(String),
    /// The stream has a setting with which it cannot carry a ring.
    #[error("stream {stream} cannot carry a ring: its {setting} is {found}, not {wanted}")]
    Unsuitable {
        /// The stream.
        stream: String,
        /// The setting, as the broker's tools name it.
        setting: &'static str,
        /// The value that the setting has.
        found: String,
        /// The value that a relay needs.
        wanted: String,
    },
    /// The broker refuses a request for a reason that does not pass.
    #[error("the broker refuses: {0}")]
    Refused(String),
    /// A message in the stream is no record that this relay can use.
    #[error("message {sequence} of the stream cannot be used: {source}")]
    Record {
        /// The sequence of the message.
        sequence: u64,
        /// Why.
        source: RecordError,
    },
    /// The log cannot be continued.
    #[error("the log cannot be continued: {0}")]
    Log(#[from] LogError),
    /// Another sender, with another ring, has taken the stream over.
    #[error("another sender has taken the stream over, with ring {nonce:016x}")]
    Superseded {
        /// The nonce of the other sender's ring.
        nonce: u64,
    },
    /// The file that a receiver keeps beside its ring cannot be used.
    #[error("{}: {why}", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The ring is not the one that was received into before.
    #[error(
        "the ring is new: an earlier one took what was received before. \
         Accept the loss (--accept-loss) to go on with what the log still has"
    )]
    NewDestination,
}

/// Why a session ended.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The cause may pass by itself. Says why, for people.
    Again(String),
    Fatal(Error),
}

impl<E: Into<Error>> From<E> for Failure {
    fn from(error: E) -> Failure {
        Failure::Fatal(error.into())
    }
}

impl Failure {
    pub(crate) fn again(why: impl std::fmt::Display) -> Failure {
        Failure::Again(why.to_string())
    }
}
