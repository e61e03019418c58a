//! A consumer's properties and settings.

use std::time::Duration;

use super::Consumer;
use crate::peer::Occupant;
use crate::segment::region::Region;
use crate::sys::sysv::{Key, SegmentId};
use crate::wait::coalesce::{Coalescer, Pace};
use crate::wait::{Stats, WaitPolicy};

impl Consumer {
    /// Whether the producer of the stream has left, in order or not, or this handle
    /// is closed. Bytes may be left to read.
    ///
    /// `true` is final, except in a persistent ring, where it holds until
    /// [`next_stream`](Self::next_stream). `false` may be out of date at once, and
    /// does not exclude a dead producer: see [`check_peer`](Self::check_peer).
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut producer, mut consumer) = shmpipe::pair()?;
    /// producer.try_write(b"abc").unwrap();
    /// assert!(!consumer.is_closed());
    /// drop(producer);
    /// assert!(consumer.is_closed());
    /// assert_eq!(consumer.available()?, 3); // still readable
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "is_abandoned")]
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.end.usable().is_err() || self.reader.has_ended()
    }

    /// The occupant of the producer's role. Asks the kernel whether a process
    /// lives. [`Producer::peer`](crate::Producer::peer) says how reliable each
    /// answer is.
    ///
    /// # Examples
    ///
    /// ```
    /// use shmpipe::Occupant;
    ///
    /// let (producer, consumer) = shmpipe::pair()?;
    /// assert_eq!(consumer.peer(), Occupant::Process(std::process::id()));
    /// drop(producer);
    /// assert_eq!(consumer.peer(), Occupant::Left);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn peer(&self) -> Occupant {
        self.end.peer_occupant()
    }

    /// How blocking calls wait.
    ///
    /// # Examples
    ///
    /// ```
    /// let (_producer, consumer) = shmpipe::pair()?;
    /// assert_eq!(consumer.wait_policy(), shmpipe::WaitPolicy::default());
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
    /// use std::time::Duration;
    /// use shmpipe::WaitPolicy;
    ///
    /// let (_producer, mut consumer) = shmpipe::pair()?;
    /// let long = WaitPolicy::SpinThenPark(Duration::from_micros(200));
    /// consumer.set_wait_policy(long);
    /// assert_eq!(consumer.wait_policy(), long);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_wait_policy(&mut self, policy: WaitPolicy) {
        self.end.set_policy(policy);
        // After this handle has left, the delivery hint belongs to the next holder.
        if self.end.is_usable() {
            self.reader.drop_hint();
        }
    }

    /// How blocking reads trade latency for throughput. See
    /// [`set_pace`](Self::set_pace).
    ///
    /// # Examples
    ///
    /// ```
    /// let (_producer, consumer) = shmpipe::pair()?;
    /// assert_eq!(consumer.pace(), shmpipe::Pace::Balanced);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn pace(&self) -> Pace {
        self.coalescer.pace
    }

    /// Sets how blocking reads trade latency for throughput.
    ///
    /// # Examples
    ///
    /// ```
    /// use shmpipe::Pace;
    ///
    /// let (_producer, mut consumer) = shmpipe::pair()?;
    /// assert_eq!(consumer.pace(), Pace::Balanced);
    /// consumer.set_pace(Pace::Throughput);
    /// assert_eq!(consumer.pace(), Pace::Throughput);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_pace(&mut self, pace: Pace) {
        self.coalescer = Coalescer::new(pace);
    }

    /// Capacity of the ring in bytes.
    ///
    /// # Examples
    ///
    /// ```
    /// let (_producer, consumer) = shmpipe::pair()?;
    /// assert_eq!(consumer.capacity(), shmpipe::DEFAULT_CAPACITY);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.reader.region().capacity()
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
    /// assert_eq!(consumer.id_for_log(), consumer.id());
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

    /// Bytes read since the ring was made, by this handle and its predecessors.
    /// Wraps at 2^64.
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut producer, mut consumer) = shmpipe::pair()?;
    /// producer.try_write(b"abc").unwrap();
    /// consumer.try_read(&mut [0; 2]).unwrap();
    /// assert_eq!(consumer.position(), 2);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn position(&self) -> u64 {
        self.reader.head()
    }

    /// Bytes read of the current stream, by this handle and its predecessors.
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut producer, mut consumer) = shmpipe::pair()?;
    /// producer.try_write(b"abc").unwrap();
    /// consumer.try_read(&mut [0; 2]).unwrap();
    /// assert_eq!(consumer.stream_position(), 2);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn stream_position(&self) -> u64 {
        self.reader.head().wrapping_sub(self.reader.began())
    }

    /// How many streams of the ring ended before the current one, since the ring was
    /// made. These are the ends that consumers have acknowledged.
    /// Zero in a ring that is not [persistent](crate::Options::persistent), which has
    /// one stream. Together with [`position`](Self::position), the number tells how
    /// far a consumer has come, across its processes.
    ///
    /// # Examples
    ///
    /// ```
    /// use shmpipe::Options;
    ///
    /// # let path = std::env::temp_dir().join(format!("shmpipe-doc-number-c-{}", std::process::id()));
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
        self.reader.stream_number()
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

    /// How often this handle slept, and how often it woke the producer.
    ///
    /// # Examples
    ///
    /// ```
    /// let (_producer, mut consumer) = shmpipe::pair()?;
    /// assert!(consumer.try_read(&mut [0]).is_err());
    /// let stats = consumer.stats();
    /// assert_eq!((stats.sleeps, stats.wakes), (0, 0)); // it did not wait
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.end.stats()
    }

    /// The time limit of each wait for the producer. `None` is no limit.
    ///
    /// # Examples
    ///
    /// ```
    /// let (_producer, consumer) = shmpipe::pair()?;
    /// assert_eq!(consumer.timeout(), None);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn timeout(&self) -> Option<Duration> {
        self.end.timeout()
    }

    /// Sets the time limit of each wait for the producer, as `SO_RCVTIMEO` does for
    /// a socket. A read that reaches the limit fails with
    /// [`TimedOut`](std::io::ErrorKind::TimedOut), and no bytes are lost. With a
    /// limit of zero, a call tries once.
    ///
    /// A call made of many reads, such as `read_exact`, `read_to_end` or
    /// [`std::io::copy`], has the limit for each read. A producer that sends a byte
    /// now and then can keep such a call going. To limit a call as a whole, use its
    /// form with a deadline, such as
    /// [`read_exact_deadline`](Self::read_exact_deadline).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::{ErrorKind, Read};
    /// use std::time::Duration;
    ///
    /// let (_producer, mut consumer) = shmpipe::pair()?;
    /// consumer.set_timeout(Some(Duration::from_millis(20)));
    /// assert_eq!(consumer.read(&mut [0]).unwrap_err().kind(), ErrorKind::TimedOut);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_timeout(&mut self, limit: Option<Duration>) {
        self.end.set_timeout(limit);
    }
}
