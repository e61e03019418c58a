//! Messages on a ring of bytes: length-prefixed records, and values of one type.
//!
//! | messages | written by | read by | in the stream |
//! |---|---|---|---|
//! | records of any length | [`RecordWriter`] | [`RecordReader`] | the length in 4 bytes, little-endian, then the record |
//! | values of one type (feature `zerocopy`) | `MessageWriter` | `MessageReader` | 16 bytes that name the type, then the values, one after the other |
//!
//! These types own a [`Producer`] or a [`Consumer`], and use its public calls. Programs can read or
//! write other formats in the same way. The module `asynchronous` shows how
//! `LengthDelimitedCodec` of `tokio-util` reads and writes records.
//!
//! - A message is complete or absent, even if its writer is killed: the writer reserves and commits
//!   it as a whole. So a record has at most the capacity less 4 bytes, and the first value of a
//!   stream at most the capacity less 16.
//! - The peer is not trusted. A length is copied, then checked, then used. Messages are
//!   copied out before anybody looks at them, or by an `unsafe` call that vouches for the
//!   peer.
//! - A stream that ends within a message is an error,
//!   [`RecordError::Cut`].
//! - In [the caller's memory](crate::Options::create_in), a message that wraps around the ring's
//!   end is copied. In a segment none wraps.
//! - Readers and writers can be members of a [`WaitSet`](crate::WaitSet), which can lend a
//!   descriptor.
//! - After an end of a stream in a [persistent](crate::Options::persistent) ring,
//!   [`next_stream`](crate::Consumer::next_stream) of the inner consumer continues.
//!
//! # Examples
//!
//! ```
//! use shmpipe::records::{RecordReader, RecordWriter};
//!
//! let (producer, consumer) = shmpipe::pair()?;
//! let writing = std::thread::spawn(move || -> std::io::Result<()> {
//!     let mut writer = RecordWriter::new(producer);
//!     writer.write(b"a record")?;
//!     writer.write(b"")?;
//!     writer.into_inner().close()?;
//!     Ok(())
//! });
//!
//! let mut reader = RecordReader::new(consumer);
//! let mut record = Vec::new();
//! assert!(reader.read(&mut record)?);
//! assert_eq!(record, b"a record");
//! assert!(reader.read(&mut record)?);
//! assert_eq!(record, b"");
//! assert!(!reader.read(&mut record)?); // the end of the stream
//! # writing.join().unwrap()?;
//! # Ok::<(), std::io::Error>(())
//! ```

mod batch;
#[cfg(not(loom))] // there are no sets
mod member;
mod reader;
#[cfg(feature = "zerocopy")]
mod typed;
mod writer;

use std::time::Instant;

use crate::error::{PeekError, RecordError, ReserveError};
use crate::handle::consumer::Consumer;
use crate::handle::producer::Producer;

pub use self::batch::{Record, RecordBatch};
pub use self::reader::RecordReader;
#[cfg(feature = "zerocopy")]
pub use self::typed::{MessageReader, MessageWriter};
pub use self::writer::{RecordGrant, RecordWriter};

/// Bytes of a record's length in the stream.
const HEADER: usize = 4;

/// How a call waits.
#[derive(Clone, Copy, Debug)]
enum Wait {
    Never,
    /// As long as the handle's timeout says.
    Handle,
    Until(Instant),
}

impl Wait {
    /// Waits for `len` bytes of room. Returns whether they are in one piece.
    fn for_room(self, producer: &mut Producer, len: usize) -> Result<bool, ReserveError> {
        let granted = match self {
            Wait::Never => producer.try_reserve(len),
            Wait::Handle => producer.reserve(len),
            Wait::Until(deadline) => producer.reserve_deadline(len, deadline),
        };
        match granted {
            Ok(_) => Ok(true),
            Err(ReserveError::Wraps { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Waits for `len` bytes. Returns whether they are in one piece.
    fn for_bytes(self, consumer: &mut Consumer, len: usize) -> Result<bool, PeekError> {
        let granted = match self {
            Wait::Never => consumer.try_peek(len),
            Wait::Handle => consumer.peek(len),
            Wait::Until(deadline) => consumer.peek_deadline(len, deadline),
        };
        match granted {
            Ok(_) => Ok(true),
            Err(PeekError::Wraps { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Gives all waits of one call the same deadline, unless the first `len` bytes are known to be
    /// there (then at most one wait follows).
    fn for_all(self, consumer: &Consumer, len: usize) -> Wait {
        match (self, consumer.deadline()) {
            (Wait::Handle, Some(deadline)) if !consumer.has_known(len) => Wait::Until(deadline),
            _ => self,
        }
    }

    /// Waits for the first `len` bytes of a message. Returns whether they are in one piece, or
    /// `None` at the end of the stream.
    fn for_message(self, consumer: &mut Consumer, len: usize) -> Result<Option<bool>, RecordError> {
        match self.for_bytes(consumer, len) {
            Ok(in_one_piece) => Ok(Some(in_one_piece)),
            Err(PeekError::Ended { available: 0, .. }) => {
                consumer.end_read();
                Ok(None)
            }
            Err(error) => Err(cut_or(error, consumer, len)),
        }
    }
}

/// The error of waiting for `wanted` bytes of a message. After the last byte of a broken stream,
/// the error is the reason of the break. Before that, the message is cut.
fn cut_or(error: PeekError, consumer: &mut Consumer, wanted: usize) -> RecordError {
    let PeekError::Broken(broken) = error else {
        return error.into();
    };
    match consumer.available() {
        Ok(available) if available > 0 => RecordError::Cut {
            wanted,
            available,
            broken: Some(broken),
        },
        _ => {
            consumer.end_read();
            broken.into()
        }
    }
}
