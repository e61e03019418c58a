//! Reading values of one type.

use std::marker::PhantomData;
use std::time::Instant;

use zerocopy::{FromBytes, IntoBytes};

use super::super::{Wait, cut_or};
use super::{Kind, PREAMBLE};
use crate::error::RecordError;
use crate::handle::consumer::Consumer;

/// A [`Consumer`] that reads values of one type, with the feature `zerocopy`.
///
/// A value is plain data: every pattern of its bytes is valid.
/// `#[derive(FromBytes, IntoBytes)]` of zerocopy 0.8 checks that. So whatever the peer writes,
/// a value of the type comes out. A message is copied out, so its alignment in the ring does
/// not matter.
///
/// # Examples
///
/// See [`MessageWriter`](super::MessageWriter). Typed references into the ring, without a copy, need a peer that the
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
    /// See [`MessageWriter`](super::MessageWriter).
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
    /// See [`MessageWriter`](super::MessageWriter).
    pub fn read_slice(&mut self, messages: &mut [T]) -> Result<usize, RecordError> {
        self.take(messages, Wait::Handle)
    }

    /// Reads messages as [`read_slice`](Self::read_slice) does, but waits until `deadline`.
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

    /// Reads messages as [`read_slice`](Self::read_slice) does, but never waits.
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

    /// Checks the place in the stream. At the beginning of a stream, waits for the preamble, checks
    /// it, and takes it out. Returns `false` at the end of an empty stream.
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

owner!(
    MessageReader,
    consumer: Consumer,
    "[`next_stream`](Consumer::next_stream) and [`close`](Consumer::close). What is read from it \
     directly must be whole messages."
);
