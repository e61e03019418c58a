//! Options of the handles: how they wait, batch and leave.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::Options;
use crate::wait::WaitPolicy;
use crate::wait::coalesce::Pace;

impl Options {
    /// Sets the time limit for opening as a whole, without
    /// [prefaulting](Options::prefault), and then for each wait of the handle: see
    /// [`Producer::set_timeout`](crate::Producer::set_timeout). `None`, the
    /// default, sets no limit. With a limit of zero, a call tries once and does not
    /// wait.
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

    /// Sets a cancel flag. Once the flag is `true`, an open that would wait, or a
    /// call that would wait for the peer, fails within about ten milliseconds. So do
    /// the `_deadline` forms of `fill_from` and `drain_to` that would wait for a
    /// file. In a reader that has got nothing for a second, this takes up to 110
    /// milliseconds.
    /// The error is [`OpenError::Cancelled`](crate::OpenError::Cancelled) or
    /// [`WaitError::Cancelled`](crate::WaitError::Cancelled). Cancelling is not
    /// final: reset the flag and call again. A signal handler can set the flag.
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

    /// Sets how blocking calls wait for the peer. The default is
    /// [`WaitPolicy::Adaptive`].
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

    /// Sets how a consumer's blocking reads trade latency for throughput. The
    /// default is [`Pace::Balanced`].
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

    /// Sets how many bytes a producer holds back, to publish them together. See
    /// [`Producer::set_batch`](crate::Producer::set_batch).
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

    /// Makes a drop of a handle count as
    /// [`Producer::abort`](crate::Producer::abort) or
    /// [`Consumer::abort`](crate::Consumer::abort). A stream whose producer is
    /// dropped by an early return is then not mistaken for a whole stream. A
    /// consumer that is dropped does not acknowledge the end that it was given.
    /// Only `close` leaves in order. The default is `false`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::{ErrorKind, Read, Write};
    ///
    /// let ring = shmpipe::Options::new().abort_on_drop(true).create_anonymous()?;
    /// let (mut producer, mut consumer) = ring.split()?;
    /// producer.write_all(b"one half")?;
    /// drop(producer); // as an early return by `?` does
    /// let error = consumer.read_to_end(&mut Vec::new()).unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn abort_on_drop(&mut self, abort: bool) -> &mut Options {
        self.handle.abort_on_drop = abort;
        self
    }

    /// Sets whether a producer of a persistent ring fails after its consumer has
    /// left or died, until the next consumer comes. The error is
    /// [`ConsumerClosed`](crate::Broken::ConsumerClosed) or, in a call that waits
    /// for room, [`Died`](crate::Broken::Died).
    ///
    /// The default for a persistent segment is `false`: bytes queue for the next
    /// consumer. The default in [the caller's memory](Options::create_in) is
    /// `true`, since both parties know each other. The option is always `true` for
    /// rings that no second consumer can join.
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
