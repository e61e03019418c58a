//! The writing end of a ring, for executors.

use std::future::poll_fn;
use std::io::{self, IoSlice, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::AsyncWrite;

use crate::error::{Broken, ReserveError, TryWriteError};
use crate::handle::producer::Producer;
use crate::reactor::parking::Parking;

/// A [`Producer`] that lets its task sleep instead of its thread.
///
/// A write takes as many bytes as there is room for, at least one, and publishes
/// them as a [`Producer`] does. `flush` has an effect only with
/// [`Producer::set_batch`]. `close` finishes the stream. A drop finishes the stream
/// too, unless its thread panics or [`set_abort_on_drop`](Self::set_abort_on_drop)
/// says otherwise. An aborted task drops its producer. Set `set_abort_on_drop`
/// where a partial stream must not be mistaken for a whole one.
///
/// Writes are cancel-safe: a write that is dropped before it is ready has written
/// nothing. `write_all` consists of many writes, and is not cancel-safe.
///
/// The handle's [timeout](Producer::timeout) does not apply, since executors have
/// timeouts of their own. Its cancel flag
/// ([`Options::cancel_on`](crate::Options::cancel_on)) does.
///
/// # Examples
///
/// See [`AsyncConsumer`](super::AsyncConsumer).
#[derive(Debug)]
pub struct AsyncProducer {
    parking: Parking,
    producer: Producer,
}

impl AsyncProducer {
    /// Makes a producer async. This makes no system call, and starts no thread.
    ///
    /// # Examples
    ///
    /// ```
    /// use shmpipe::asynchronous::AsyncProducer;
    ///
    /// let (producer, mut consumer) = shmpipe::pair()?;
    /// let mut producer = AsyncProducer::new(producer);
    /// producer.get_mut().try_write(b"abc").unwrap();
    /// assert_eq!(producer.get_ref().position(), 3);
    /// producer.into_inner().try_write(b"de").unwrap(); // blocks again
    /// assert_eq!(consumer.available()?, 5);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn new(producer: Producer) -> AsyncProducer {
        AsyncProducer {
            parking: Parking::default(),
            producer,
        }
    }

    /// Returns the producer, whose calls block again. For an example, see
    /// [`new`](Self::new).
    #[must_use]
    pub fn into_inner(mut self) -> Producer {
        self.parking.resume(self.producer.end());
        self.producer
    }

    /// Returns the producer, to be looked at. For an example, see [`new`](Self::new).
    #[must_use]
    pub fn get_ref(&self) -> &Producer {
        &self.producer
    }

    /// Returns the producer, for calls that do not wait: [`Producer::try_reserve`],
    /// [`Producer::abort`], [`Producer::check_peer`] and the like. Calls that wait,
    /// such as those of [`io::Write`], block the thread. For an example, see
    /// [`new`](Self::new).
    #[must_use]
    pub fn get_mut(&mut self) -> &mut Producer {
        self.parking.resume(self.producer.end());
        &mut self.producer
    }

    /// Sets whether a drop breaks the stream off instead of finishing it.
    /// `poll_close` finishes the stream in either case.
    /// [`Producer::set_abort_on_drop`] has an example.
    pub fn set_abort_on_drop(&mut self, abort: bool) {
        self.producer.set_abort_on_drop(abort);
    }

    /// Waits until [`Producer::try_reserve`] grants room for `len` bytes, for
    /// writes without a copy. A committed record is complete or absent.
    /// Cancel-safe.
    ///
    /// # Errors
    ///
    /// The errors of [`Producer::try_reserve`], except [`ReserveError::Full`].
    ///
    /// # Examples
    ///
    /// ```
    /// use futures::executor::block_on;
    /// use shmpipe::asynchronous::AsyncProducer;
    ///
    /// let (producer, mut consumer) = shmpipe::pair()?;
    /// let mut producer = AsyncProducer::new(producer);
    /// block_on(producer.writable(8))?;
    /// let mut grant = producer.get_mut().try_reserve(8)?;
    /// grant.write_at(b"a record", 0);
    /// grant.commit_all();
    /// assert_eq!(consumer.available()?, 8);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn writable(&mut self, len: usize) -> io::Result<()> {
        poll_fn(|context| self.poll_writable(context, len)).await
    }

    /// Polls what [`writable`](Self::writable) waits for.
    ///
    /// # Errors
    ///
    /// The errors of [`writable`](Self::writable).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::task::{Context, Waker};
    /// use shmpipe::asynchronous::AsyncProducer;
    ///
    /// let (producer, _consumer) = shmpipe::Options::new().capacity(4096).create_anonymous()?.split()?;
    /// let mut producer = AsyncProducer::new(producer);
    /// let mut context = Context::from_waker(Waker::noop());
    /// assert!(producer.poll_writable(&mut context, 4096).is_ready());
    /// producer.get_mut().try_write(b"a").unwrap();
    /// assert!(producer.poll_writable(&mut context, 4096).is_pending());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn poll_writable(&mut self, context: &mut Context<'_>, len: usize) -> Poll<io::Result<()>> {
        let room = len as u64;
        self.poll_until(context, room, room, |producer| {
            match producer.try_reserve(len) {
                Ok(_) => Ok(Some(())),
                Err(ReserveError::Full { .. }) => Ok(None),
                Err(error) => Err(error.into()),
            }
        })
    }

    /// Waits until there is no consumer to write for: the consumer has left, has
    /// died, or the like. Returns the error that a write would return. Cancel-safe.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::ErrorKind;
    /// use futures::executor::block_on;
    /// use shmpipe::asynchronous::AsyncProducer;
    ///
    /// let (producer, consumer) = shmpipe::pair()?;
    /// let mut producer = AsyncProducer::new(producer);
    /// drop(consumer);
    /// assert_eq!(block_on(producer.closed()).kind(), ErrorKind::BrokenPipe);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn closed(&mut self) -> io::Error {
        poll_fn(|context| self.poll_closed(context)).await
    }

    /// Polls what [`closed`](Self::closed) waits for.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::task::{Context, Waker};
    /// use shmpipe::asynchronous::AsyncProducer;
    ///
    /// let (producer, consumer) = shmpipe::pair()?;
    /// let mut producer = AsyncProducer::new(producer);
    /// let mut context = Context::from_waker(Waker::noop());
    /// assert!(producer.poll_closed(&mut context).is_pending());
    /// drop(consumer);
    /// assert!(producer.poll_closed(&mut context).is_ready());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn poll_closed(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        // More room than any ring has, so only an error ends the wait. No head that
        // the consumer can reach is worth a wake.
        const NEVER: u64 = 1 << 62;
        let waited = self.poll_until(context, NEVER, NEVER, |producer| {
            producer.end().usable()?;
            producer.check_consumer()?;
            Ok(None::<std::convert::Infallible>)
        });
        waited.map(|closed| match closed {
            Ok(never) => match never {},
            Err(error) => error,
        })
    }

    /// How much room is worth a wake for a write of `len` bytes: a quarter of the
    /// ring, but at most `len`. An async wait does not look for less room at the
    /// end of a slice.
    fn worth_a_wake(&self, len: usize) -> u64 {
        self.producer.quarter().min(len as u64)
    }

    /// Calls `attempt` until it returns a value. Waits between the attempts for
    /// `least` bytes of room. The consumer should wake this side once there are
    /// `worth_a_wake` bytes.
    #[inline]
    fn poll_until<T>(
        &mut self,
        context: &mut Context<'_>,
        least: u64,
        worth_a_wake: u64,
        mut attempt: impl FnMut(&mut Producer) -> io::Result<Option<T>>,
    ) -> Poll<io::Result<T>> {
        self.parking.resume(self.producer.end());
        loop {
            if let Some(value) = attempt(&mut self.producer)? {
                self.parking.moved();
                return Poll::Ready(Ok(value));
            }
            let (end, wanted, mut room) = self.producer.wait_for_room_parts(worth_a_wake);
            let ready = || Ok((room()? >= least).then_some(()));
            ready!(self.parking.poll(end, context, wanted, ready))?;
        }
    }
}

impl From<Producer> for AsyncProducer {
    fn from(producer: Producer) -> AsyncProducer {
        AsyncProducer::new(producer)
    }
}

impl AsyncWrite for AsyncProducer {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let worth_a_wake = this.worth_a_wake(bytes.len());
        this.poll_until(context, 1, worth_a_wake, |producer| {
            match producer.try_write(bytes) {
                Ok(len) => Ok(Some(len)),
                Err(TryWriteError::Full) => Ok(None),
                Err(TryWriteError::Broken(broken)) => Err(broken.into()),
            }
        })
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let len = parts.iter().map(|part| part.len()).sum::<usize>();
        let worth_a_wake = this.worth_a_wake(len);
        this.poll_until(context, 1, worth_a_wake, |producer| {
            if len > 0 && producer.known_room(len)? == 0 {
                producer.check_consumer()?;
                return Ok(None);
            }
            producer.write_vectored(parts).map(Some) // there is room, so this does not wait
        })
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.get_mut().producer.flush())
    }

    /// Finishes the stream, as [`Producer::close`] does. Waits only for a child
    /// that has not taken its end yet. Closing again has no effect.
    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let AsyncProducer { parking, producer } = self.get_mut();
        parking.resume(producer.end());
        if producer.end().has_closed() {
            return Poll::Ready(Ok(()));
        }
        producer.end().usable()?;
        producer.publish();
        let end = producer.end();
        let has_come = match end.child_to_come() {
            // No position ends this wait. The reactor notices when the child comes.
            None => true,
            Some(ready) => match ready!(parking.poll(end, context, u64::MAX, ready)) {
                Ok(()) => true,
                Err(error) if error.get_ref().is_some_and(|why| why.is::<Broken>()) => false,
                Err(error) => return Poll::Ready(Err(error)),
            },
        };
        Poll::Ready(producer.finish(has_come).map_err(io::Error::from))
    }
}
