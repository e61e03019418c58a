//! A producer's properties and settings.

use std::time::Duration;

use super::Producer;
use crate::error::Broken;
use crate::peer::Occupant;
use crate::segment::closed::Departure;
use crate::segment::region::Region;
use crate::sys::sysv::{Key, SegmentId};
use crate::wait::{Stats, WaitPolicy};

impl Producer {
    /// Whether the consumer has closed the ring, or this handle is closed.
    ///
    /// `true` is final, except in a persistent ring, which another consumer can
    /// open. `false` may be out of date at once, and does not exclude a dead
    /// consumer: see [`check_peer`](Self::check_peer).
    ///
    /// # Examples
    ///
    /// ```
    /// let (producer, consumer) = shmpipe::pair()?;
    /// assert!(!producer.is_closed());
    /// drop(consumer);
    /// assert!(producer.is_closed());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "is_abandoned")]
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.end.usable().is_err() || self.writer.peer_departure() != Ok(Departure::Open)
    }

    /// The occupant of the consumer's role. Asks the kernel whether a process
    /// lives, without waiting.
    ///
    /// [`Left`](Occupant::Left) and [`Dead`](Occupant::Dead) are final, except in a
    /// persistent ring, which another process can open. `Dead` is proven.
    /// [`Process`](Occupant::Process) may be out of date at once, and also covers a
    /// process whose death cannot be proven. After [`Nobody`](Occupant::Nobody), a
    /// process may come at any time.
    ///
    /// # Examples
    ///
    /// ```
    /// use shmpipe::Occupant;
    ///
    /// let (producer, consumer) = shmpipe::pair()?;
    /// assert_eq!(producer.peer(), Occupant::Process(std::process::id()));
    /// drop(consumer);
    /// assert_eq!(producer.peer(), Occupant::Left);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn peer(&self) -> Occupant {
        self.end.peer_occupant()
    }

    /// How many bytes are held back before they are published together. 0 publishes
    /// every write.
    ///
    /// # Examples
    ///
    /// ```
    /// let (producer, _consumer) = shmpipe::Options::new().batch(4096).create_anonymous()?.split()?;
    /// assert_eq!(producer.batch(), 4096);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Sets how many bytes are held back before they are published together: many
    /// small writes then cost one publication. [`flush`](std::io::Write::flush), a
    /// wait for room, [`close`](Self::close) and a drop publish these bytes too.
    /// [`abort`](Self::abort) and the death of the process do not. 0, the default,
    /// publishes every write.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::Write;
    ///
    /// let (mut producer, mut consumer) = shmpipe::pair()?;
    /// producer.set_batch(4096);
    /// producer.write_all(b"held back")?;
    /// assert_eq!(consumer.available()?, 0);
    /// producer.flush()?;
    /// assert_eq!(consumer.available()?, 9);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_batch(&mut self, bytes: usize) {
        self.batch = bytes;
        if self.writer.pending() >= self.batch && self.end.usable().is_ok() {
            self.publish();
        }
    }

    /// How blocking calls wait.
    ///
    /// # Examples
    ///
    /// ```
    /// let (producer, _consumer) = shmpipe::pair()?;
    /// assert_eq!(producer.wait_policy(), shmpipe::WaitPolicy::default());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn wait_policy(&self) -> WaitPolicy {
        self.end.policy()
    }

    /// Sets how blocking calls wait.
    ///
    /// # Examples
    ///
    /// ```
    /// use shmpipe::WaitPolicy;
    ///
    /// let (mut producer, _consumer) = shmpipe::pair()?;
    /// producer.set_wait_policy(WaitPolicy::Park);
    /// assert_eq!(producer.wait_policy(), WaitPolicy::Park);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_wait_policy(&mut self, policy: WaitPolicy) {
        self.end.set_policy(policy);
    }

    /// Capacity of the ring in bytes.
    ///
    /// # Examples
    ///
    /// ```
    /// let (producer, _consumer) = shmpipe::pair()?;
    /// assert_eq!(producer.capacity(), shmpipe::DEFAULT_CAPACITY);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.writer.region().capacity()
    }

    /// The id of the ring's segment. `None` for a ring in [the caller's
    /// memory](crate::Options::create_in).
    ///
    /// This call assumes that the caller gives the id to another process, which may
    /// attach the ring at any time. From then on no wait ends with
    /// [`NeverCame`](crate::Broken::NeverCame). For logs, use
    /// [`id_for_log`](Self::id_for_log).
    ///
    /// # Examples
    ///
    /// ```
    /// let (producer, consumer) = shmpipe::pair()?;
    /// assert!(producer.id().is_some());
    /// assert_eq!(producer.id(), consumer.id());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn id(&self) -> Option<SegmentId> {
        self.end.share_id()
    }

    /// The id of the ring's segment, for people to read. Unlike [`id`](Self::id),
    /// this call does not assume that another process gets the id.
    ///
    /// # Examples
    ///
    /// ```
    /// let (producer, consumer) = shmpipe::pair()?;
    /// assert_eq!(producer.id_for_log(), producer.id());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn id_for_log(&self) -> Option<SegmentId> {
        self.end.mapping().id()
    }

    /// The key that leads to the ring now, or `None` if no key does. See
    /// [`Ring::key`](crate::Ring::key).
    ///
    /// # Examples
    ///
    /// ```
    /// let (producer, consumer) = shmpipe::pair()?;
    /// assert_eq!((producer.key(), consumer.key()), (None, None)); // anonymous
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn key(&self) -> Option<Key> {
        self.end.mapping().key()
    }

    /// Bytes written since the ring was made, by this handle and its predecessors.
    /// Wraps at 2^64.
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut producer, _consumer) = shmpipe::pair()?;
    /// producer.try_write(b"abc").unwrap();
    /// assert_eq!(producer.position(), 3);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn position(&self) -> u64 {
        self.writer.tail()
    }

    /// Bytes written of the current stream. Begins above 0 if this handle
    /// [resumed](crate::Options::resume) the stream of a dead producer.
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut producer, _consumer) = shmpipe::pair()?;
    /// producer.try_write(b"abc").unwrap();
    /// assert_eq!(producer.stream_position(), 3);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn stream_position(&self) -> u64 {
        self.writer.tail().wrapping_sub(self.writer.began())
    }

    /// How many streams of the ring ended before the current one, since the ring was
    /// made. A consumer that reads this stream returns the same number.
    /// Zero in a ring that is not [persistent](crate::Options::persistent), which has
    /// one stream. Together with [`position`](Self::position), the number tells how
    /// far a producer has come, across its processes.
    ///
    /// # Examples
    ///
    /// ```
    /// use shmpipe::Options;
    ///
    /// # let path = std::env::temp_dir().join(format!("shmpipe-doc-number-p-{}", std::process::id()));
    /// # std::fs::write(&path, "")?;
    /// let mut options = Options::new();
    /// options.persistent(true);
    /// options.open_producer(&path)?.close()?;
    /// let producer = options.open_producer(&path)?;
    /// let mut consumer = options.open_consumer(&path)?;
    /// assert_eq!((producer.stream_number(), consumer.stream_number()), (1, 0));
    /// consumer.next_stream()?;
    /// assert_eq!(consumer.stream_number(), 1);
    /// # drop((producer, consumer));
    /// # Options::new().remove(&path)?;
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn stream_number(&self) -> u64 {
        self.writer.stream_number()
    }

    /// The position up to which the consumer has released bytes, counted since the
    /// ring was made. A sender that keeps bytes until they were consumed can free
    /// them up to here.
    ///
    /// # Errors
    ///
    /// What makes the handle unusable.
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut producer, mut consumer) = shmpipe::pair()?;
    /// producer.try_write(b"abc").unwrap();
    /// consumer.try_read(&mut [0; 2]).unwrap();
    /// assert_eq!(producer.consumed()?, 2);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn consumed(&mut self) -> Result<u64, Broken> {
        self.end.usable()?;
        let consumed = self.writer.consumed();
        consumed.map_err(|corruption| self.end.latch(corruption.into()))
    }

    /// A random number that identifies the ring. See
    /// [`Ring::nonce`](crate::Ring::nonce).
    ///
    /// # Examples
    ///
    /// ```
    /// let (producer, consumer) = shmpipe::pair()?;
    /// assert_eq!(producer.nonce(), consumer.nonce());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn nonce(&self) -> u64 {
        self.end.mapping().geometry().nonce
    }

    /// How often this handle slept, and how often it woke the consumer.
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut producer, _consumer) = shmpipe::pair()?;
    /// producer.try_write(b"abc").unwrap();
    /// let stats = producer.stats();
    /// assert_eq!((stats.sleeps, stats.wakes), (0, 0)); // nobody slept
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.end.stats()
    }

    /// The time limit of each wait for the consumer. `None` is no limit.
    ///
    /// # Examples
    ///
    /// ```
    /// let (producer, _consumer) = shmpipe::pair()?;
    /// assert_eq!(producer.timeout(), None);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn timeout(&self) -> Option<Duration> {
        self.end.timeout()
    }

    /// Sets the time limit of each wait for the consumer, as `SO_SNDTIMEO` does for
    /// a socket. A [`write`](std::io::Write::write) that reaches the limit returns
    /// the number of bytes written. If no byte was written, it fails with
    /// [`TimedOut`](std::io::ErrorKind::TimedOut). With a limit of zero, a call
    /// tries once.
    ///
    /// A call made of many writes, such as `write_all` or [`std::io::copy`], has
    /// the limit for each write. A consumer that frees a byte now and then can keep
    /// such a call going. To limit a call as a whole, use its form with a deadline,
    /// such as [`write_all_deadline`](Self::write_all_deadline).
    /// [`close`](Self::close) and a drop have the limit once.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::{ErrorKind, Write};
    /// use std::time::Duration;
    ///
    /// let (mut producer, _consumer) = shmpipe::pair()?;
    /// producer.set_timeout(Some(Duration::from_millis(20)));
    /// producer.write_all(&vec![7; producer.capacity()])?;
    /// assert_eq!(producer.write(&[7]).unwrap_err().kind(), ErrorKind::TimedOut);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_timeout(&mut self, limit: Option<Duration>) {
        self.end.set_timeout(limit);
    }
}
