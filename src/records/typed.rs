//! Messages of one type of plain data, with the feature `zerocopy`.
//!
//! This module uses zerocopy, not bytemuck. zerocopy has a trait for each need, so a type promises
//! no more than it must. `IntoBytes` excludes padding, and `FromBytes` invalid patterns. bytemuck's
//! `Pod` asks for both, and for `Copy`. The derives of both crates check at compile time.
//!
//! A stream begins with a *preamble* of 16 bytes. The preamble has the size of a message in 4
//! bytes, the text `msg1`, and a hash in 8 bytes. The hash is the FNV-1a of the messages' name in
//! UTF-8. Integers are little-endian. A side writes, or checks, the preamble at position 0 of the
//! stream. In a persistent ring, a side that comes later finds the preamble gone. That side checks
//! only that its position is between two messages.
//!
//! One file of more than 450 lines: half of them are documentation with examples.

use std::fmt;
use std::marker::PhantomData;
use std::time::Instant;

use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::{HEADER, Wait, cut_or};
use crate::error::RecordError;
use crate::handle::consumer::Consumer;
use crate::handle::producer::Producer;

/// Bytes of the preamble.
const PREAMBLE: usize = 16;

/// What the middle of the preamble says.
const MARK: [u8; 4] = *b"msg1";

/// What the preamble says of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kind {
    size: u32,
    name: u64,
}

impl Kind {
    fn of<T>(name: &str) -> Kind {
        const {
            assert!(size_of::<T>() > 0, "a message has at least one byte");
            assert!(size_of::<T>() <= u32::MAX as usize);
        }
        Kind {
            size: size_of::<T>() as u32,
            name: hash(name),
        }
    }

    fn to_bytes(self) -> [u8; PREAMBLE] {
        let mut bytes = [0; PREAMBLE];
        bytes[..HEADER].copy_from_slice(&self.size.to_le_bytes());
        bytes[HEADER..8].copy_from_slice(&MARK);
        bytes[8..].copy_from_slice(&self.name.to_le_bytes());
        bytes
    }

    fn from_bytes(bytes: [u8; PREAMBLE]) -> Option<Kind> {
        let [a, b, c, d, mark @ .., _, _, _, _, _, _, _, _] = bytes;
        let (_, name) = bytes.split_last_chunk().expect("8 of 16");
        (mark == MARK).then_some(Kind {
            size: u32::from_le_bytes([a, b, c, d]),
            name: u64::from_le_bytes(*name),
        })
    }

    /// Fails if `position` of a stream, behind the preamble, is not between two messages.
    fn check_position(self, position: u64) -> Result<(), RecordError> {
        let behind = position.checked_sub(PREAMBLE as u64);
        let size = u64::from(self.size);
        match behind {
            Some(behind) if behind % size == 0 => Ok(()),
            _ => Err(RecordError::Misplaced {
                position,
                size: self.size as usize,
            }),
        }
    }
}

/// The 64-bit FNV-1a hash. <http://www.isthe.com/chongo/tech/comp/fnv/>
fn hash(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

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
    /// are refused at the beginning of a stream. Behind the beginning, nothing names the type: a
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
    /// [timeout](Producer::set_timeout). The messages that fit are published at once.
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

    /// Writes as many of `messages` as there is room for, at once, and returns their number.
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

/// A [`Consumer`] that reads values of one type, with the feature `zerocopy`.
///
/// A value is plain data: every pattern of its bytes is valid.
/// `#[derive(FromBytes, IntoBytes)]` of zerocopy 0.8 checks that. So whatever the peer writes,
/// a value of the type comes out. A message is copied out, so its alignment in the ring does
/// not matter.
///
/// # Examples
///
/// See [`MessageWriter`]. Typed references into the ring, without a copy, need a peer that the
/// caller vouches for. [`ReadGrant::trusted`](crate::ReadGrant::trusted) gives a slice, and
/// zerocopy a reference into it, if the alignment is right:
///
/// ```
/// use zerocopy::FromBytes;
///
/// let (mut producer, mut consumer) = shmpipe::pair()?;
/// // SAFETY: the peer is this thread, which does not touch the room, and nothing forks.
/// let mut room = unsafe { producer.reserve(16)?.trusted() };
/// let numbers = <[u64]>::mut_from_bytes(&mut room).expect("a ring begins at a page");
/// numbers.copy_from_slice(&[7, 8]);
/// room.advance(16);
/// room.commit_written();
///
/// // SAFETY: as above.
/// let bytes = unsafe { consumer.peek(16)?.trusted() };
/// assert_eq!(<[u64]>::ref_from_bytes(&bytes).expect("aligned"), [7, 8]);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct MessageReader<T> {
    consumer: Consumer,
    kind: Kind,
    messages: PhantomData<fn() -> T>,
}

impl<T: FromBytes + IntoBytes> MessageReader<T> {
    /// Makes a reader of messages. `name` is what both sides call them.
    ///
    /// # Examples
    ///
    /// ```
    /// use shmpipe::RecordError;
    /// use shmpipe::records::{MessageReader, MessageWriter};
    ///
    /// let (producer, consumer) = shmpipe::pair()?;
    /// MessageWriter::<u64>::new(producer, "temperatures").write(&21)?;
    /// let refused = MessageReader::<u64>::new(consumer, "pressures").read();
    /// assert!(matches!(refused, Err(RecordError::OtherMessage { .. })));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn new(consumer: Consumer, name: &str) -> MessageReader<T> {
        MessageReader {
            consumer,
            kind: Kind::of::<T>(name),
            messages: PhantomData,
        }
    }

    /// Reads one message. Waits for it, within the handle's
    /// [timeout](Consumer::set_timeout). Returns `None` at the end of the stream.
    ///
    /// # Errors
    ///
    /// [`RecordError::OtherMessage`] if the other side writes messages of another size or
    /// name. [`RecordError::Misplaced`] if another reader has taken a part of a message.
    /// [`RecordError::Cut`] if the stream ended, or broke off, within a message.
    /// [`RecordError::Broken`] if the stream broke off between two messages, or its producer
    /// died there. [`RecordError::TimedOut`], [`RecordError::Cancelled`]. No message was taken
    /// out of the stream.
    ///
    /// # Examples
    ///
    /// See [`MessageWriter`].
    pub fn read(&mut self) -> Result<Option<T>, RecordError> {
        let mut message = T::new_zeroed();
        let messages = std::slice::from_mut(&mut message);
        let count = self.take(messages, Wait::Handle)?;
        Ok((count > 0).then_some(message))
    }

    /// Reads as many messages as there are, at most as many as `messages` has, and returns their
    /// number. Waits for the first one, within the handle's
    /// [timeout](Consumer::set_timeout). Returns 0 at the end of the stream.
    ///
    /// # Errors
    ///
    /// The errors of [`read`](Self::read).
    ///
    /// # Examples
    ///
    /// See [`MessageWriter`].
    pub fn read_slice(&mut self, messages: &mut [T]) -> Result<usize, RecordError> {
        self.take(messages, Wait::Handle)
    }

    /// As [`read_slice`](Self::read_slice), but waits until `deadline`.
    ///
    /// # Errors
    ///
    /// The errors of [`read`](Self::read). The handle's timeout does not apply.
    ///
    /// # Examples
    ///
    /// See [`try_read_slice`](Self::try_read_slice).
    pub fn read_slice_deadline(
        &mut self,
        messages: &mut [T],
        deadline: Instant,
    ) -> Result<usize, RecordError> {
        self.take(messages, Wait::Until(deadline))
    }

    /// As [`read_slice`](Self::read_slice), but never waits.
    ///
    /// # Errors
    ///
    /// [`RecordError::WouldBlock`] if no message is there. Otherwise the errors of
    /// [`read`](Self::read).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Instant;
    /// use shmpipe::RecordError;
    /// use shmpipe::records::MessageReader;
    ///
    /// let (_producer, consumer) = shmpipe::pair()?;
    /// let mut reader = MessageReader::<u64>::new(consumer, "numbers");
    /// let mut numbers = [0; 10];
    /// assert_eq!(reader.try_read_slice(&mut numbers), Err(RecordError::WouldBlock));
    /// let timed_out = reader.read_slice_deadline(&mut numbers, Instant::now());
    /// assert_eq!(timed_out, Err(RecordError::TimedOut));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn try_read_slice(&mut self, messages: &mut [T]) -> Result<usize, RecordError> {
        self.take(messages, Wait::Never)
    }

    fn take(&mut self, messages: &mut [T], wait: Wait) -> Result<usize, RecordError> {
        let wait = wait.for_all(&self.consumer, PREAMBLE);
        if messages.is_empty() || !self.pass_preamble(wait)? {
            return Ok(0);
        }
        let consumer = &mut self.consumer;
        let size = size_of::<T>();
        let Some(in_one_piece) = wait.for_message(consumer, size)? else {
            return Ok(0);
        };
        if !in_one_piece {
            consumer.copy_ahead(messages[0].as_mut_bytes(), 0);
            consumer.consume(size);
            return Ok(1);
        }
        let wanted = size.saturating_mul(messages.len());
        let grant = consumer.try_peek_up_to(wanted)?;
        let count = grant.len() / size;
        for (index, message) in messages[..count].iter_mut().enumerate() {
            grant.read_at(message.as_mut_bytes(), index * size);
        }
        grant.consume(count * size);
        Ok(count)
    }

    /// Checks the place in the stream. At its beginning, waits for the preamble, checks it, and
    /// takes it out. Returns `false` at the end of an empty stream.
    fn pass_preamble(&mut self, wait: Wait) -> Result<bool, RecordError> {
        let consumer = &mut self.consumer;
        match consumer.stream_position() {
            0 => {}
            position => return self.kind.check_position(position).map(|()| true),
        }
        if wait.for_message(consumer, PREAMBLE)?.is_none() {
            return Ok(false);
        }
        let mut preamble = [0; PREAMBLE];
        consumer.copy_ahead(&mut preamble, 0); // once, and the copy is used
        let found = Kind::from_bytes(preamble);
        if found != Some(self.kind) {
            return Err(RecordError::OtherMessage {
                expected: (self.kind.size, self.kind.name),
                found: found.map(|kind| (kind.size, kind.name)),
            });
        }
        // Waits for the first message, too, so that a call that times out takes nothing.
        let least = PREAMBLE + size_of::<T>();
        let waited = wait.for_bytes(consumer, least);
        waited.map_err(|error| cut_or(error, consumer, least))?;
        consumer.consume(PREAMBLE);
        Ok(true)
    }
}

macro_rules! owner {
    ($owner:ident, $handle:ident: $type:ident, $whole:literal) => {
        impl<T> $owner<T> {
            #[doc = concat!("Returns the ", stringify!($handle), ", to be looked at.")]
            #[must_use]
            pub fn get_ref(&self) -> &$type {
                &self.$handle
            }

            #[doc = concat!("Returns the ", stringify!($handle), ", for settings, waits, ", $whole)]
            #[must_use]
            pub fn get_mut(&mut self) -> &mut $type {
                &mut self.$handle
            }

            #[doc = concat!("Returns the ", stringify!($handle), ".")]
            #[must_use]
            pub fn into_inner(self) -> $type {
                self.$handle
            }
        }

        impl<T> fmt::Debug for $owner<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($owner))
                    .field(stringify!($handle), &self.$handle)
                    .field("kind", &self.kind)
                    .finish()
            }
        }
    };
}

owner!(
    MessageWriter,
    producer: Producer,
    "and [`close`](Producer::close). What is written to it directly must be whole messages."
);
owner!(
    MessageReader,
    consumer: Consumer,
    "[`next_stream`](Consumer::next_stream) and [`close`](Consumer::close). What is read from it \
     directly must be whole messages."
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_known_one() {
        assert_eq!(hash(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(hash("a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(hash("foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn a_preamble_says_what_it_was_made_of() {
        let kind = Kind::of::<[u8; 24]>("x");
        let bytes = kind.to_bytes();
        assert_eq!(bytes[..8], *b"\x18\0\0\0msg1");
        assert_eq!(Kind::from_bytes(bytes), Some(kind));
        let mut other = bytes;
        other[4] = b'M';
        assert_eq!(Kind::from_bytes(other), None);
    }
}
