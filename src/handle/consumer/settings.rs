//! What a consumer can be asked, and how it is set.

use std::time::Duration;

use super::Consumer;
use crate::peer::Occupant;
use crate::segment::region::Region;
use crate::sys::sysv::{Key, SegmentId};
use crate::wait::pace::{Pace, Pacer};
use crate::wait::{Stats, WaitPolicy};

impl Consumer {
    /// Whether the producer of the stream has left, finished or not, or this
    /// handle is closed. Bytes may be left to read.
    ///
    /// `true` is final, but for a ring that persists, where it holds until
    /// [`next_stream`](Self::next_stream). `false` may be out of date at once,
    /// and says nothing of a producer that died: see
    /// [`check_peer`](Self::check_peer).
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut producer, mut consumer) = shmpipe::pair()?;
    /// producer.try_write(b"abc").unwrap();
    /// assert!(!consumer.is_closed());
    /// drop(producer);
    /// assert!(consumer.is_closed());
    /// assert_eq!(consumer.available()?, 3); // there to be read all the same
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "is_abandoned")]
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.end.usable().is_err() || self.reader.has_ended()
    }

    /// Who has the other end, and what that is worth: see
    /// [`Producer::peer`](crate::Producer::peer).
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
        // The word is another holder's once this one has left.
        if self.end.is_usable() {
            self.reader.stop_listening();
        }
    }

    /// How blocking reads trade latency for throughput; see
    /// [`set_pace`](Self::set_pace).
    #[must_use]
    pub fn pace(&self) -> Pace {
        self.pacer.pace
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
        self.pacer = Pacer::new(pace);
    }

    /// Bytes of the ring.
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
        self.reader.region().capacity() as usize
    }

    /// The segment that the ring lies in; `None` of a ring in
    /// [memory of the caller's](crate::Options::create_in).
    ///
    /// Asking says that the id was given to another process, which may attach the ring
    /// by it at any time: from then on, that nobody is left who could take the other
    /// role is no longer concluded, and no [`NeverCame`](crate::Broken::NeverCame) ends a wait. For
    /// logs, see [`id_for_log`](Self::id_for_log).
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

    /// The segment that the ring lies in, for people to read: as [`id`](Self::id), but
    /// that nobody is expected to come by it.
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
        self.end.region().id()
    }

    /// The key that leads to the ring now; `None` once none does, or if none
    /// ever did. See [`Ring::key`](crate::Ring::key).
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
        self.end.region().key()
    }

    /// Bytes read since the ring was made, by this handle and by those before
    /// it; wraps at 2^64.
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

    /// Bytes read of the stream that is being read, by this handle and by those
    /// before it.
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

    /// A number that tells the ring from every other one; see
    /// [`Ring::nonce`](crate::Ring::nonce).
    #[must_use]
    pub fn nonce(&self) -> u64 {
        self.end.region().geometry().nonce
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

    /// The limit on each wait for the producer; `None` is no limit.
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

    /// Sets the limit on each wait for the producer, as `SO_RCVTIMEO` of a
    /// socket does. A read that runs into it fails with
    /// [`TimedOut`](std::io::ErrorKind::TimedOut), and nothing is lost. With a
    /// limit of zero, a call tries once.
    ///
    /// A call made of many reads, such as `read_exact`, `read_to_end` or
    /// [`std::io::copy`], has the limit anew for each: a producer that sends a
    /// byte now and then keeps it going. What bounds a whole call is its form
    /// with a deadline: [`read_exact_deadline`](Self::read_exact_deadline).
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
