//! The reading end, for executors.

use std::future::poll_fn;
use std::io::{self, IoSliceMut, Read};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::AsyncRead;

use super::parking::Parking;
use crate::error::{PeekError, TryReadError};
use crate::handle::consumer::Consumer;

/// A [`Consumer`] that lets its task sleep instead of its thread.
///
/// A read gives what is there, at least one byte; 0 is the end of the stream.
/// It fails as a [`Consumer`]'s does: after the last byte, with the
/// [`Broken`](crate::Broken) in the [`io::Error`]. It is cancel-safe: a read
/// that is dropped before it is ready has taken nothing.
///
/// It has no buffer, so that nothing is in two places: for lines and the like
/// put it into the `BufReader` of `futures` or of `tokio`.
///
/// The handle's [timeout](Consumer::timeout) does not apply; executors have
/// their own. Its cancel flag ([`Options::cancel_on`](crate::Options::cancel_on))
/// does.
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
    /// Makes a consumer async. No system call, and no thread yet.
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

    /// The consumer, with every byte that was not read.
    #[must_use]
    pub fn into_inner(mut self) -> Consumer {
        self.parking.resume(self.consumer.end());
        self.consumer
    }

    /// The consumer.
    #[must_use]
    pub fn get_ref(&self) -> &Consumer {
        &self.consumer
    }

    /// The consumer, for what does not wait: [`Consumer::try_peek`],
    /// [`Consumer::close`], [`Consumer::check_peer`] and the like. What waits,
    /// such as [`io::Read`], blocks the thread.
    #[must_use]
    pub fn get_mut(&mut self) -> &mut Consumer {
        self.parking.resume(self.consumer.end());
        &mut self.consumer
    }

    /// Sets whether a drop leaves without acknowledging the end that was read;
    /// see [`Consumer::set_abort_on_drop`].
    pub fn set_abort_on_drop(&mut self, abort: bool) {
        self.consumer.set_abort_on_drop(abort);
    }

    /// Waits until [`Consumer::try_peek`] grants `len` bytes: a read without a
    /// copy. Cancel-safe.
    ///
    /// # Errors
    ///
    /// Those of [`Consumer::try_peek`], but for [`PeekError::Empty`].
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

    /// [`readable`](Self::readable), as a poll.
    ///
    /// # Errors
    ///
    /// As there.
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

    /// Waits for `least` bytes, or no more to come, until `attempt` gives a
    /// value.
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
            let (end, wanted, ready) = self.consumer.wait_for_bytes_parts(least as u64);
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
                // It does not wait now.
                Ok(_) => consumer.read_vectored(parts).map(Some),
            }
        })
    }
}
