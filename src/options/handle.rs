//! How the handles of a ring wait, gather and leave.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::Options;
use crate::wait::WaitPolicy;
use crate::wait::pace::Pace;

impl Options {
    /// How long opening may take in all, but for
    /// [prefaulting](Options::prefault), and then each wait for the peer: the
    /// limit is [`Producer::set_timeout`] of the handle. `None`, the default, is no
    /// limit: they wait for as long as it takes. With a limit of zero, a call tries once and
    /// waits for nobody.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use shmpipe::{OpenError, Options};
    ///
    /// # let path = std::env::temp_dir().join(format!("shmpipe-doc-timeout-{}", std::process::id()));
    /// # std::fs::write(&path, "")?;
    /// let opened = Options::new().timeout(Some(Duration::from_millis(20))).open_producer(&path);
    /// assert!(matches!(opened, Err(OpenError::TimedOut { .. }))); // nobody came
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn timeout(&mut self, limit: Option<Duration>) -> &mut Options {
        self.open.timeout = limit;
        self.handle.timeout = limit;
        self
    }

    /// A flag that ends waiting: once it is `true`, an open or a blocking call
    /// that would wait fails within about ten milliseconds, with
    /// [`OpenError::Cancelled`] or [`WaitError::Cancelled`]. That is not final: the
    /// call can be made again once the flag is reset. A signal handler can set it.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::Read;
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicBool, Ordering};
    ///
    /// let flag = Arc::new(AtomicBool::new(false));
    /// let ring = shmpipe::Options::new().cancel_on(flag.clone()).create_anonymous()?;
    /// let (_producer, mut consumer) = ring.split()?;
    /// flag.store(true, Ordering::Relaxed); // from anywhere
    /// let error = consumer.read(&mut [0]).unwrap_err();
    /// assert_eq!(error.to_string(), "cancelled by the caller");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn cancel_on(&mut self, flag: Arc<AtomicBool>) -> &mut Options {
        self.open.cancel = Some(Arc::clone(&flag));
        self.handle.cancel = Some(flag);
        self
    }

    /// How blocking calls wait for the peer.
    ///
    /// # Examples
    ///
    /// ```
    /// use shmpipe::{Options, WaitPolicy};
    ///
    /// let ring = Options::new().wait_policy(WaitPolicy::Park).create_anonymous()?;
    /// let (producer, consumer) = ring.split()?;
    /// assert_eq!(producer.wait_policy(), WaitPolicy::Park);
    /// assert_eq!(consumer.wait_policy(), WaitPolicy::Park);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn wait_policy(&mut self, policy: WaitPolicy) -> &mut Options {
        self.handle.policy = policy;
        self
    }

    /// How a consumer's blocking reads trade latency for throughput; balanced
    /// unless said.
    ///
    /// # Examples
    ///
    /// ```
    /// use shmpipe::{Options, Pace};
    ///
    /// let ring = Options::new().pace(Pace::Latency).create_anonymous()?;
    /// assert_eq!(ring.into_consumer()?.pace(), Pace::Latency);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn pace(&mut self, pace: Pace) -> &mut Options {
        self.handle.pace = pace;
        self
    }

    /// Bytes that a producer holds back to publish them together; see
    /// [`Producer::set_batch`].
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::Write;
    ///
    /// let ring = shmpipe::Options::new().batch(4096).create_anonymous()?;
    /// let (mut producer, mut consumer) = ring.split()?;
    /// producer.write_all(b"held back")?;
    /// assert_eq!(consumer.available()?, 0);
    /// producer.flush()?;
    /// assert_eq!(consumer.available()?, 9);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn batch(&mut self, bytes: usize) -> &mut Options {
        self.handle.batch = bytes;
        self
    }

    /// Has a drop of a handle count as [`Producer::abort`] or
    /// [`Consumer::abort`]: a producer that is dropped by an early return does
    /// not look as if its stream were whole, and a consumer that is does not
    /// acknowledge the end that it was given. Only `close` is orderly then.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::{ErrorKind, Read, Write};
    ///
    /// let ring = shmpipe::Options::new().abort_on_drop(true).create_anonymous()?;
    /// let (mut producer, mut consumer) = ring.split()?;
    /// producer.write_all(b"one half")?;
    /// drop(producer); // as by `?` on the way
    /// let error = consumer.read_to_end(&mut Vec::new()).unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn abort_on_drop(&mut self, abort: bool) -> &mut Options {
        self.handle.abort_on_drop = abort;
        self
    }

    /// Whether a producer of a ring that persists fails once its consumer has
    /// left or died, until the next one comes: with
    /// [`ConsumerClosed`](crate::Broken::ConsumerClosed) and, in a call that
    /// waits for room, [`Died`](crate::Broken::Died).
    ///
    /// Unless said, `false` for a persistent segment, where bytes queue for the
    /// next consumer, and `true` in [memory of the caller's](Options::create_in),
    /// where two parties know each other. Always `true` where no consumer can
    /// follow.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::{ErrorKind, Write};
    /// use shmpipe::Options;
    ///
    /// # let path = std::env::temp_dir().join(format!("shmpipe-doc-require-{}", std::process::id()));
    /// # std::fs::write(&path, "")?;
    /// let mut options = Options::new();
    /// let mut producer = options.persistent(true).require_consumer(true).open_producer(&path)?;
    /// let consumer = options.open_consumer(&path)?;
    /// drop(consumer);
    /// assert_eq!(producer.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
    /// # drop(producer);
    /// # Options::new().remove(&path)?;
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn require_consumer(&mut self, require: bool) -> &mut Options {
        self.handle.require_consumer = Some(require);
        self
    }
}
