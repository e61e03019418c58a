//! The writing end, for executors.

use std::future::poll_fn;
use std::io::{self, IoSlice, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::AsyncWrite;

use super::parking::Parking;
use crate::error::{Broken, ReserveError, TryWriteError};
use crate::handle::producer::Producer;

/// A [`Producer`] that lets its task sleep instead of its thread.
///
/// A write takes what there is room for, at least one byte, and publishes it
/// as a [`Producer`] does; `flush` has something to do only with
/// [`Producer::set_batch`]. `close` finishes the stream. So does a drop,
/// unless its thread panics or [`set_abort_on_drop`](Self::set_abort_on_drop)
/// says otherwise: then it breaks the stream off. A task that is aborted drops
/// what it has, so say so where a part must not pass for the whole.
///
/// It is cancel-safe: a write that is dropped before it is ready has written
/// nothing. (`write_all` is many writes: it is not, as everywhere.)
///
/// The handle's [timeout](Producer::timeout) does not apply; executors have
/// their own. Its cancel flag ([`Options::cancel_on`](crate::Options::cancel_on))
/// does.
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
    /// Makes a producer async. No system call, and no thread yet.
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

    /// The producer.
    #[must_use]
    pub fn into_inner(mut self) -> Producer {
        self.parking.resume(self.producer.end());
        self.producer
    }

    /// The producer.
    #[must_use]
    pub fn get_ref(&self) -> &Producer {
        &self.producer
    }

    /// The producer, for what does not wait: [`Producer::try_reserve`],
    /// [`Producer::abort`], [`Producer::check_peer`] and the like. What waits,
    /// such as [`io::Write`], blocks the thread.
    #[must_use]
    pub fn get_mut(&mut self) -> &mut Producer {
        self.parking.resume(self.producer.end());
        &mut self.producer
    }

    /// Sets whether a drop breaks the stream off in place of finishing it; see
    /// [`Producer::set_abort_on_drop`]. `poll_close` finishes either way.
    pub fn set_abort_on_drop(&mut self, abort: bool) {
        self.producer.set_abort_on_drop(abort);
    }

    /// Waits until [`Producer::try_reserve`] grants room for `len` bytes: a write
    /// without a copy, and whole or not there. Cancel-safe.
    ///
    /// # Errors
    ///
    /// Those of [`Producer::try_reserve`], but for [`ReserveError::Full`].
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

    /// [`writable`](Self::writable), as a poll.
    ///
    /// # Errors
    ///
    /// As there.
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

    /// Waits until there is nobody left to write for, and gives the error that
    /// a write fails with then: that the consumer has left, or died, or the
    /// like. Cancel-safe.
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

    /// [`closed`](Self::closed), as a poll.
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
        // Room that never is: the wait ends by an error only. No head that the
        // consumer can come to is worth a wake.
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

    /// How much room is worth a wake for `len` bytes to write. No more than
    /// those: nobody looks at the end of a slice whether there is less.
    fn worth_a_wake(&self, len: usize) -> u64 {
        self.producer.quarter().min(len as u64)
    }

    /// Waits for `least` bytes of room until `attempt` gives a value;
    /// `worth_a_wake` is how many the consumer had better have made before it
    /// wakes us.
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
            producer.write_vectored(parts).map(Some) // does not wait now
        })
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.get_mut().producer.flush())
    }

    /// Finishes the stream, as [`Producer::close`] does. Waits for nobody but a
    /// child that has yet to take its end. Closing once more changes nothing.
    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let AsyncProducer { parking, producer } = self.get_mut();
        parking.resume(producer.end());
        match producer.end().usable() {
            Err(Broken::Closed) => return Poll::Ready(Ok(())),
            usable => usable?,
        }
        producer.publish();
        let end = producer.end();
        let has_come = match end.child_to_come() {
            // No position ends this wait; the reactor sees the child come.
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
