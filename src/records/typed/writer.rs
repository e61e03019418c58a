//! Writing values of one type.

use std::marker::PhantomData;
use std::time::Instant;

use zerocopy::{Immutable, IntoBytes};

use super::super::Wait;
use super::Kind;
use crate::error::RecordError;
use crate::handle::producer::Producer;

/// A [`Producer`] that writes values of one type, with the feature `zerocopy`.
///
/// A value is plain data: bytes without padding. `#[derive(IntoBytes, Immutable)]` of zerocopy
/// 0.8 checks that. Use `#[repr(C)]`, and change the name whenever the meaning of the bytes
/// changes.
///
/// # Examples
///
/// ```
/// use shmpipe::records::{MessageReader, MessageWriter};
/// use zerocopy::{FromBytes, Immutable, IntoBytes};
///
/// #[derive(Clone, Copy, Debug, Default, PartialEq, FromBytes, IntoBytes, Immutable)]
/// #[repr(C)]
/// struct Tick {
///     time: u64,
///     price: f64,
/// }
///
/// let (producer, consumer) = shmpipe::pair()?;
/// let mut writer = MessageWriter::<Tick>::new(producer, "tick/1");
/// writer.write(&Tick { time: 1, price: 9.5 })?;
/// writer.write_slice(&[Tick { time: 2, price: 9.75 }, Tick { time: 3, price: 9.25 }])?;
/// drop(writer);
///
/// let mut reader = MessageReader::<Tick>::new(consumer, "tick/1");
/// assert_eq!(reader.read()?, Some(Tick { time: 1, price: 9.5 }));
/// let mut ticks = [Tick::default(); 10];
/// assert_eq!(reader.read_slice(&mut ticks)?, 2); // as many as there are
/// assert_eq!(ticks[1].time, 3);
/// assert_eq!(reader.read()?, None); // the end of the stream
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct MessageWriter<T> {
    producer: Producer,
    kind: Kind,
    messages: PhantomData<fn(T)>,
}

impl<T: IntoBytes + Immutable> MessageWriter<T> {
    /// Makes a writer of messages. `name` is what both sides call them: readers with another name
    /// are refused at the beginning of a stream. After the beginning, nothing names the type: a
    /// writer that resumes a stream, and a reader that joins one, are trusted. Nothing is written
    /// before the first message.
    ///
    /// # Examples
    ///
    /// See [`MessageWriter`].
    #[must_use]
    pub fn new(producer: Producer, name: &str) -> MessageWriter<T> {
        MessageWriter {
            producer,
            kind: Kind::of::<T>(name),
            messages: PhantomData,
        }
    }

    /// Writes one message. Waits for room, within the handle's
    /// [timeout](Producer::set_timeout).
    ///
    /// # Errors
    ///
    /// [`RecordError::TooLong`] if the ring cannot hold a message. [`RecordError::TimedOut`],
    /// [`RecordError::Cancelled`]. [`RecordError::Broken`] if the consumer has left or died.
    /// [`RecordError::Misplaced`] if another writer has left a part of a message. Nothing was
    /// written.
    ///
    /// # Examples
    ///
    /// See [`MessageWriter`].
    pub fn write(&mut self, message: &T) -> Result<(), RecordError> {
        let messages = std::slice::from_ref(message);
        self.put(messages, Wait::Handle).map(drop)
    }

    /// Writes all of `messages`. Waits for room for each part, within the handle's
    /// [timeout](Producer::set_timeout). The messages that fit are published in
    /// one step.
    ///
    /// # Errors
    ///
    /// The errors of [`write`](Self::write). The messages before the error were written;
    /// [`try_write_slice`](Self::try_write_slice) says how many.
    ///
    /// # Examples
    ///
    /// See [`MessageWriter`].
    pub fn write_slice(&mut self, mut messages: &[T]) -> Result<(), RecordError> {
        while !messages.is_empty() {
            let written = self.put(messages, Wait::Handle)?;
            messages = &messages[written..];
        }
        Ok(())
    }

    /// Writes one message. Waits for room until `deadline`.
    ///
    /// # Errors
    ///
    /// The errors of [`write`](Self::write). The handle's timeout does not apply.
    ///
    /// # Examples
    ///
    /// See [`try_write_slice`](Self::try_write_slice).
    pub fn write_deadline(&mut self, message: &T, deadline: Instant) -> Result<(), RecordError> {
        let messages = std::slice::from_ref(message);
        self.put(messages, Wait::Until(deadline)).map(drop)
    }

    /// Writes as many of `messages` as there is room for, and returns their number: at least
    /// one. Never waits.
    ///
    /// # Errors
    ///
    /// [`RecordError::WouldBlock`] without room for a message. Otherwise the errors of
    /// [`write`](Self::write).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Instant;
    /// use shmpipe::RecordError;
    /// use shmpipe::records::MessageWriter;
    ///
    /// let (producer, _consumer) = shmpipe::Options::new().capacity(4096).pair()?;
    /// let mut writer = MessageWriter::<u64>::new(producer, "numbers");
    /// assert_eq!(writer.try_write_slice(&[7; 1000]), Ok(510));
    /// assert_eq!(writer.try_write_slice(&[7; 490]), Err(RecordError::WouldBlock));
    /// let timed_out = writer.write_deadline(&7, Instant::now());
    /// assert_eq!(timed_out, Err(RecordError::TimedOut));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn try_write_slice(&mut self, messages: &[T]) -> Result<usize, RecordError> {
        self.put(messages, Wait::Never)
    }

    /// Writes as many of `messages` as there is room for, in one step, and returns their number.
    /// Waits for room for the first one.
    fn put(&mut self, messages: &[T], wait: Wait) -> Result<usize, RecordError> {
        if messages.is_empty() {
            return Ok(0);
        }
        let position = self.producer.stream_position();
        let preamble = self.kind.to_bytes();
        let lead: &[u8] = match position {
            0 => &preamble,
            position => {
                self.kind.check_position(position)?;
                &[]
            }
        };
        let bytes = messages.as_bytes();
        let size = size_of::<T>();
        let least = lead.len() + size;
        if !wait.for_room(&mut self.producer, least)? {
            let first = [lead, &bytes[..size]].concat();
            self.producer.try_write_all(&first)?; // the room is known
            return Ok(1);
        }
        let mut grant = self.producer.try_reserve_up_to(lead.len() + bytes.len())?;
        let count = (grant.len() - lead.len()) / size;
        grant.write_at(lead, 0);
        grant.write_at(&bytes[..count * size], lead.len());
        grant.commit(lead.len() + count * size);
        Ok(count)
    }
}

owner!(
    MessageWriter,
    producer: Producer,
    "and [`close`](Producer::close). What is written to it directly must be whole messages."
);
