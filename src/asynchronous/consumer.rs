//! The reading end of a ring, for executors.

use std::future::poll_fn;
use std::io::{self, IoSliceMut, Read};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::AsyncRead;

use crate::error::{PeekError, TryReadError};
use crate::handle::consumer::Consumer;
use crate::reactor::parking::Parking;

/// A [`Consumer`] that lets its task sleep instead of its thread.
///
/// A read returns the available bytes, at least one. 0 means the end of the stream.
/// Like the reads of a [`Consumer`], a read fails after the last byte of a broken
/// stream. Its [`io::Error`] contains the [`Broken`](crate::Broken). Reads are
/// cancel-safe: a read that is dropped before it is ready has taken nothing.
///
/// There is no buffer besides the ring. For reading lines, use the `BufReader` of
/// `futures` or `tokio`.
///
/// The handle's [timeout](Consumer::timeout) does not apply, since executors have
/// timeouts of their own. Its cancel flag
/// ([`Options::cancel_on`](crate::Options::cancel_on)) does.
///
/// # Examples
///
/// ```
/// use futures::executor::block_on;
/// use futures::io::{AsyncReadExt, AsyncWriteExt};
/// use shmpipe::asynchronous::{AsyncConsumer, AsyncProducer};
///
/// let (producer, consumer) = shmpipe::pair()?;
/// let (mut producer, mut consumer) = (AsyncProducer::new(producer), AsyncConsumer::new(consumer));
/// let mut text = String::new();
/// block_on(async {
///     let write = async {
///         producer.write_all(b"hello").await?;
///         producer.close().await
///     };
///     let (written, read) = futures::join!(write, consumer.read_to_string(&mut text));
///     written.and(read)
/// })?;
/// assert_eq!(text, "hello");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct AsyncConsumer {
    parking: Parking,
    consumer: Consumer,
}

impl AsyncConsumer {
    /// Makes a consumer async. This makes no system call, and starts no thread.
    ///
    /// # Examples
    ///
    /// ```
    /// use shmpipe::asynchronous::AsyncConsumer;
    ///
    /// let (mut producer, consumer) = shmpipe::pair()?;
    /// let mut consumer = AsyncConsumer::new(consumer);
    /// producer.try_write(b"abc").unwrap();
    /// assert_eq!(consumer.get_mut().available()?, 3);
    /// assert_eq!(consumer.get_ref().capacity(), shmpipe::DEFAULT_CAPACITY);
    /// let mut bytes = [0; 3];
    /// let mut consumer = consumer.into_inner(); // blocks again
    /// assert_eq!(consumer.try_read(&mut bytes), Ok(3));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn new(consumer: Consumer) -> AsyncConsumer {
        AsyncConsumer {
            parking: Parking::default(),
            consumer,
        }
    }

    /// Returns the consumer, whose calls block again. No byte is lost. For an
    /// example, see [`new`](Self::new).
    #[must_use]
    pub fn into_inner(mut self) -> Consumer {
        self.parking.resume(self.consumer.end());
        self.consumer
    }

    /// Returns the consumer, to be looked at. For an example, see [`new`](Self::new).
    #[must_use]
    pub fn get_ref(&self) -> &Consumer {
        &self.consumer
    }

    /// Returns the consumer, for calls that do not wait: [`Consumer::try_peek`],
    /// [`Consumer::close`], [`Consumer::check_peer`] and the like. Calls that wait,
    /// such as those of [`io::Read`], block the thread. For an example, see
    /// [`new`](Self::new).
    #[must_use]
    pub fn get_mut(&mut self) -> &mut Consumer {
        self.parking.resume(self.consumer.end());
        &mut self.consumer
    }

    /// Sets whether a drop leaves the end of the stream unacknowledged.
    /// [`Consumer::set_abort_on_drop`] has an example.
    pub fn set_abort_on_drop(&mut self, abort: bool) {
        self.consumer.set_abort_on_drop(abort);
    }

    /// Waits until [`Consumer::try_peek`] grants `len` bytes, for reads without a
    /// copy. Cancel-safe.
    ///
    /// # Errors
    ///
    /// The errors of [`Consumer::try_peek`], except [`PeekError::Empty`].
    ///
    /// # Examples
    ///
    /// ```
    /// use futures::executor::block_on;
    /// use shmpipe::asynchronous::AsyncConsumer;
    ///
    /// let (mut producer, consumer) = shmpipe::pair()?;
    /// let mut consumer = AsyncConsumer::new(consumer);
    /// producer.try_write(b"a record").unwrap();
    /// block_on(consumer.readable(8))?;
    /// let grant = consumer.get_mut().try_peek(8)?;
    /// let mut bytes = [0; 8];
    /// grant.read_at(&mut bytes, 0);
    /// grant.consume_all();
    /// assert_eq!(&bytes, b"a record");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn readable(&mut self, len: usize) -> io::Result<()> {
        poll_fn(|context| self.poll_readable(context, len)).await
    }

    /// Polls what [`readable`](Self::readable) waits for.
    ///
    /// # Errors
    ///
    /// The errors of [`readable`](Self::readable).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::task::{Context, Poll, Waker};
    /// use shmpipe::asynchronous::AsyncConsumer;
    ///
    /// let (mut producer, consumer) = shmpipe::pair()?;
    /// let mut consumer = AsyncConsumer::new(consumer);
    /// let mut context = Context::from_waker(Waker::noop());
    /// assert!(consumer.poll_readable(&mut context, 1).is_pending());
    /// producer.try_write(b"a").unwrap();
    /// assert!(matches!(consumer.poll_readable(&mut context, 1), Poll::Ready(Ok(()))));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn poll_readable(&mut self, context: &mut Context<'_>, len: usize) -> Poll<io::Result<()>> {
        self.poll_until(context, len, |consumer| match consumer.try_peek(len) {
            Ok(_) => Ok(Some(())),
            Err(PeekError::Empty { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        })
    }

    /// Calls `attempt` until it returns a value. Waits between the attempts for
    /// `least` bytes, or until no more can come.
    #[inline]
    fn poll_until<T>(
        &mut self,
        context: &mut Context<'_>,
        least: usize,
        mut attempt: impl FnMut(&mut Consumer) -> io::Result<Option<T>>,
    ) -> Poll<io::Result<T>> {
        self.parking.resume(self.consumer.end());
        loop {
            if let Some(value) = attempt(&mut self.consumer)? {
                self.parking.moved();
                return Poll::Ready(Ok(value));
            }
            let (end, wanted, ready) = self.consumer.wait_for_bytes_parts(least);
            ready!(self.parking.poll(end, context, wanted, ready))?;
        }
    }
}

impl From<Consumer> for AsyncConsumer {
    fn from(consumer: Consumer) -> AsyncConsumer {
        AsyncConsumer::new(consumer)
    }
}

impl AsyncRead for AsyncConsumer {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut()
            .poll_until(context, 1, |consumer| match consumer.try_read(bytes) {
                Ok(len) => Ok(Some(len)),
                Err(TryReadError::Empty) => Ok(None),
                Err(TryReadError::Broken(broken)) => Err(broken.into()),
            })
    }

    fn poll_read_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        let len = parts.iter().map(|part| part.len()).sum::<usize>();
        self.get_mut().poll_until(context, 1, |consumer| {
            match consumer.try_peek_up_to(len) {
                Err(PeekError::Empty { .. }) => Ok(None),
                Err(error) => consumer.end_or(error).map(|()| Some(0)),
                // There are bytes, so this does not wait.
                Ok(_) => consumer.read_vectored(parts).map(Some),
            }
        })
    }
}
