//! Waiting for many handles in one thread: [`WaitSet`], and the traits and types of its members.
//!
//! | file | what |
//! |---|---|
//! | `collection.rs` | keys, and the traits of collections |
//! | `member.rs` | [`AsEnd`], [`End`], and what a set keeps about a handle |
//! | `sleep.rs` | the blocking wait |
//! | `descriptor.rs` | the descriptor for loops that poll descriptors |

// This file has more than 450 lines because almost two thirds of them are documentation with
// examples.

mod collection;
mod descriptor;
mod member;
mod sleep;

use std::io;
use std::os::fd::OwnedFd;
use std::time::Instant;

use self::collection::no_handle;
use self::descriptor::Descriptor;
use self::member::Member;
pub use self::member::{AsEnd, End, EndMut};
use self::sleep::Sleeper;
use crate::error::{Broken, WaitError};
use crate::handle::consumer::Consumer;
use crate::sys::fork::Epoch;
use crate::wait::{WaitPolicy, deadline};

/// Handles that one thread waits for, all at once.
///
/// The set owns its handles. [`insert`](Self::insert) returns a key for each, and
/// [`wait`](Self::wait) returns the key of a handle that is *ready*: a call that never waits would do
/// something. A consumer is ready if there are bytes, or the stream has ended, was broken off, or
/// cannot continue. A producer is ready if there is room, or no consumer to write for. So put a
/// producer into a set only while its ring is full. A handle that still waits for its peer
/// ([`wait_for_peer(false)`](crate::Options::wait_for_peer)) can be a member. A closed handle is
/// always ready: its calls return [`Broken::Closed`].
///
/// - **Level-triggered.** A handle stays ready until a call has used up what made it ready. A
///   handle at the end of its stream stays ready until
///   [`next_stream`](Consumer::next_stream) continues, or until it is removed.
/// - **Fair.** Each wait begins after the handle that was returned last. A busy ring does not keep
///   a quiet one from being served.
/// - **Deaths.** A wait asks about every ten milliseconds whether the peers live, 32 of them at a
///   time. If nothing has come for a second, the wait checks all peers every 100 ms, and the cancel
///   flags as often. This applies only if all members are consumers, there are at most 128 of
///   them, the kernel has `FUTEX_WAITV`, and each peer wakes by futex. The death of a peer makes
///   its handle ready, and the next `try_` call that finds nothing to do returns
///   [`Broken::Died`]. In a [persistent](crate::Options::persistent) ring, each death is returned
///   once, unless a successor has come first, and the set then waits for the next peer. While a
///   ready handle makes progress, the set checks no peer. If the handle makes none, the set checks
///   them. Call [`check_peer`](Consumer::check_peer) in a program whose handles are always ready.
/// - **Costs.** There is no thread, unless [`poll_fd`](Self::poll_fd) is called. While a handle is
///   ready, a wait makes two kinds of system call. It checks the peers, and it wakes a consumer
///   for bytes that a [batch](crate::Producer::set_batch) holds back. Otherwise a wait spins as the
///   set's own [`WaitPolicy`] says, then sleeps for all handles in one system call (`FUTEX_WAITV`).
///   The kernel takes 128 words at once. With more handles, the wait sleeps on them in turn, and
///   some wakes are noticed up to 5 ms later. Before Linux 5.16, or if a filter forbids the call, a
///   wait for more than one handle looks at all of them every millisecond.
/// - **Cancelling.** If a handle has a cancel flag ([`Options::cancel_on`](crate::Options::cancel_on))
///   and it is set, waits that find no handle ready return [`WaitError::Cancelled`].
///
/// The timeouts and wait policies of the handles do not apply. Dropping the set drops the handles.
/// After a fork, the set belongs to the process that forked, as its handles do.
///
/// # Examples
///
/// A collector:
///
/// ```
/// use shmpipe::{TryReadError, WaitSet};
///
/// # let (mut one, from_one) = shmpipe::pair()?;
/// # let (mut two, from_two) = shmpipe::pair()?;
/// # one.try_write(b"abc").unwrap();
/// # two.try_write(b"def").unwrap();
/// # drop((one, two));
/// let mut set = WaitSet::new();
/// set.insert(from_one);
/// set.insert(from_two);
///
/// let (mut bytes, mut received) = ([0; 4096], Vec::new());
/// while let Some(key) = set.wait()? {
///     match set[key].try_read(&mut bytes) {
///         Ok(0) => {
///             // The end. In a persistent ring another stream can follow.
///             if !set[key].next_stream()? {
///                 set.remove(key);
///             }
///         }
///         Ok(len) => received.extend_from_slice(&bytes[..len]),
///         Err(TryReadError::Empty) => {}
///         Err(TryReadError::Broken(why)) => {
///             eprintln!("{why}");
///             set.remove(key);
///         }
///     }
/// }
/// assert_eq!(received.len(), 6);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// A set of one, for one handle that an epoll loop watches: see [`poll_fd`](Self::poll_fd).
#[doc(alias = "poll")]
#[doc(alias = "select")]
#[doc(alias = "epoll")]
pub struct WaitSet<H = Consumer> {
    /// The members, indexed by key. A removed member leaves its slot to the next one.
    members: Vec<Option<Member<H>>>,
    free: Vec<usize>,
    /// The slot at which the next look begins.
    next: usize,
    epoch: Epoch,
    sleeper: Sleeper,
    descriptor: Option<Descriptor>,
}

impl<H: AsEnd> WaitSet<H> {
    /// Makes an empty set. This makes no descriptor, and starts no thread.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut set = shmpipe::WaitSet::<shmpipe::Consumer>::new();
    /// assert_eq!(set.wait()?, None); // nothing to wait for
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn new() -> WaitSet<H> {
        WaitSet {
            members: Vec::new(),
            free: Vec::new(),
            next: 0,
            epoch: Epoch::current(),
            sleeper: Sleeper::new(),
            descriptor: None,
        }
    }

    /// Adds a handle, and returns its key. Keys are small numbers. The key of a removed handle is
    /// given to a later one.
    ///
    /// # Examples
    ///
    /// ```
    /// let (_producer, consumer) = shmpipe::pair()?;
    /// let mut set = shmpipe::WaitSet::new();
    /// assert_eq!(set.insert(consumer), 0);
    /// assert_eq!(set[0].position(), 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn insert(&mut self, handle: H) -> usize {
        let member = Some(Member::new(handle));
        let key = match self.free.pop() {
            Some(key) => {
                self.members[key] = member;
                key
            }
            None => {
                self.members.push(member);
                self.members.len() - 1
            }
        };
        self.keep_readable();
        key
    }

    /// Takes a handle out of the set. No byte is lost. `None` if no handle has this key.
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut producer, consumer) = shmpipe::pair()?;
    /// let mut set = shmpipe::WaitSet::new();
    /// let key = set.insert(consumer);
    /// producer.try_write(b"abc").unwrap();
    /// let mut consumer = set.remove(key).unwrap();
    /// assert_eq!(consumer.available()?, 3);
    /// assert!(set.remove(key).is_none());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn remove(&mut self, key: usize) -> Option<H> {
        let mut member = self.members.get_mut(key)?.take()?;
        self.free.push(key);
        member.disarm();
        Some(member.handle)
    }

    /// Waits until a handle is ready, and returns its key. `None` if the set is empty.
    ///
    /// # Errors
    ///
    /// [`WaitError::Cancelled`] if the cancel flag of a handle is set, and no handle is ready.
    /// [`WaitError::Broken`] with [`Broken::Inherited`] in a forked child.
    ///
    /// # Examples
    ///
    /// See the example of the [type](WaitSet).
    pub fn wait(&mut self) -> Result<Option<usize>, WaitError> {
        self.wait_until(None)
    }

    /// Waits as [`wait`](Self::wait) does, but until `deadline`. After the deadline, looks once.
    ///
    /// # Errors
    ///
    /// [`WaitError::TimedOut`], and the errors of [`wait`](Self::wait).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use shmpipe::{WaitError, WaitSet};
    ///
    /// let (mut producer, consumer) = shmpipe::pair()?;
    /// let mut set = WaitSet::from(consumer);
    /// let soon = Instant::now() + Duration::from_millis(20);
    /// assert_eq!(set.wait_deadline(soon), Err(WaitError::TimedOut));
    /// producer.try_write(b"abc").unwrap();
    /// assert_eq!(set.wait_deadline(soon), Ok(Some(0)));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn wait_deadline(&mut self, deadline: Instant) -> Result<Option<usize>, WaitError> {
        self.wait_until(Some(deadline))
    }

    /// Returns the key of a handle that is ready, or `None`. Never waits.
    ///
    /// Without [`poll_fd`](Self::poll_fd), the only system calls of this method are wakes, and the
    /// method does not notice the death of a peer. With `poll_fd`, `None` arms the descriptor: one
    /// system call, up to two for each handle to be armed, and those that check a peer.
    ///
    /// # Errors
    ///
    /// The errors of [`wait`](Self::wait).
    ///
    /// # Examples
    ///
    /// ```
    /// use shmpipe::WaitSet;
    ///
    /// let (mut producer, consumer) = shmpipe::pair()?;
    /// let mut set = WaitSet::from(consumer);
    /// assert_eq!(set.try_wait()?, None);
    /// producer.try_write(b"abc").unwrap();
    /// assert_eq!(set.try_wait()?, Some(0));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn try_wait(&mut self) -> Result<Option<usize>, WaitError> {
        self.check_process()?;
        let found = match self.descriptor {
            Some(_) => self.find_while_busy(),
            None => self.find(),
        };
        if let Some(key) = found {
            return Ok(Some(key));
        }
        if self.is_cancelled() {
            self.keep_readable();
            return Err(WaitError::Cancelled);
        }
        Ok(self.arm())
    }

    /// Returns a descriptor for a loop of epoll, poll(2), mio, asyncio or GLib. The loop may watch
    /// the descriptor for input next to sockets. io_uring can poll the descriptor, too. The
    /// descriptor is an eventfd, closed on exec.
    ///
    /// The descriptor is level-triggered. It is readable until [`try_wait`](Self::try_wait) returns
    /// `None`. From then on it becomes readable as soon as `try_wait` would return anything else,
    /// and stays so until `try_wait` returns `None` again. It may be readable without a cause. So
    /// call `try_wait` until it returns `None`, then return to the loop. Never read from the
    /// descriptor, and never write to it.
    ///
    /// - The first call starts a thread of the process, `shmpipe-waiter`, which waits for all such
    ///   sets and for async handles. It ends after a second without any.
    /// - A wake goes from the peer to this thread, and then to the loop.
    /// - For a producer, room of at least a quarter of the ring is noticed at once. Less room,
    ///   deaths and cancel flags are noticed within about ten milliseconds. With more than 32
    ///   handles, 32 peers and their handles' cancel flags are checked in that time.
    /// - With more than 127 handles, the thread sleeps on them in turn, and some wakes are noticed up to
    ///   5 ms later. Before Linux 5.16, or if a filter forbids `FUTEX_WAITV`, the thread looks at all
    ///   handles every millisecond.
    /// - If the thread has ended and cannot be restarted, the descriptor stays readable.
    /// - A blocking wait, an insertion and a mutable borrow of a handle make the descriptor readable
    ///   until `try_wait` next returns `None`.
    ///
    /// Each call returns another descriptor of the same eventfd. After the set is dropped, all of them
    /// stay readable, so that no loop waits for them. A forked child must not watch
    /// them: the child's copy of the set does not serve them.
    ///
    /// # Errors
    ///
    /// The error of the operating system, if the descriptor or the thread cannot be made. An error
    /// with [`Broken::Inherited`] in a forked child.
    ///
    /// # Examples
    ///
    /// With poll(2), for one handle:
    ///
    /// ```
    /// use std::os::fd::AsRawFd;
    /// use shmpipe::WaitSet;
    ///
    /// let (mut producer, consumer) = shmpipe::pair()?;
    /// let mut set = WaitSet::from(consumer);
    /// let descriptor = set.poll_fd()?;
    /// # let writer = std::thread::spawn(move || producer.try_write(b"abc").map(|_| producer));
    /// let mut received = Vec::new();
    /// while received.len() < 3 {
    ///     while let Some(key) = set.try_wait()? {
    ///         let mut bytes = [0; 64];
    ///         let len = set[key].try_read(&mut bytes)?;
    ///         received.extend_from_slice(&bytes[..len]);
    ///     }
    ///     let mut watched = libc::pollfd {
    ///         fd: descriptor.as_raw_fd(),
    ///         events: libc::POLLIN,
    ///         revents: 0,
    ///     };
    ///     // SAFETY: one `pollfd`.
    ///     unsafe { libc::poll(&mut watched, 1, 10_000) };
    /// }
    /// assert_eq!(received, b"abc");
    /// # writer.join().unwrap().unwrap();
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn poll_fd(&mut self) -> io::Result<OwnedFd> {
        self.check_process()?;
        self.lend_descriptor()
    }

    /// Sets the low-water mark: the bytes that make a consumer ready, or the room that makes a
    /// producer ready. The default is 1. A number above the capacity counts as the capacity. A
    /// stream that ends with fewer bytes makes the consumer ready, too.
    ///
    /// Use this for records. Otherwise the set returns a consumer with a part of a record again and
    /// again, and keeps a processor busy. For records of different lengths: if a call returns
    /// [`PeekError::Empty`](crate::PeekError::Empty), set the mark to its `wanted`. Once the record
    /// is complete, set the mark back to 1.
    ///
    /// # Panics
    ///
    /// If no handle has this key.
    ///
    /// # Examples
    ///
    /// ```
    /// use shmpipe::WaitSet;
    ///
    /// let (mut producer, consumer) = shmpipe::pair()?;
    /// let mut set = WaitSet::from(consumer);
    /// set.set_low_water_mark(0, 8);
    /// producer.try_write(b"seven b").unwrap();
    /// assert_eq!(set.try_wait()?, None);
    /// producer.try_write(b"ytes and one").unwrap();
    /// assert_eq!(set.try_wait()?, Some(0));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "SO_RCVLOWAT")]
    pub fn set_low_water_mark(&mut self, key: usize, bytes: usize) {
        self.keep_readable();
        let member = self.members.get_mut(key).and_then(Option::as_mut);
        let member = member.unwrap_or_else(|| no_handle(key));
        member.disarm(); // the position from which on a wake is useful has changed
        member.set_least(bytes);
    }

    /// Returns a handle for changes, or `None` if no handle has this key.
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut producer, consumer) = shmpipe::pair()?;
    /// let mut set = shmpipe::WaitSet::from(consumer);
    /// producer.try_write(b"abc").unwrap();
    /// assert_eq!(set.get_mut(0).unwrap().available()?, 3);
    /// assert!(set.get_mut(1).is_none());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn get_mut(&mut self, key: usize) -> Option<&mut H> {
        let member = self.members.get_mut(key)?.as_mut()?;
        if let Some(descriptor) = &mut self.descriptor {
            // The caller may wait with the handle, and so may clear its sleeping word.
            member.disarm();
            descriptor.keep_readable();
        }
        Some(&mut member.handle)
    }

    /// Looks at all members, beginning after the one that was returned last. Returns the key of
    /// the first that is ready. Possible system calls: one write to the descriptor, and those of
    /// [`Member::is_ready`].
    fn find(&mut self) -> Option<usize> {
        let next = self.next.min(self.members.len());
        let (before, from) = self.members.split_at_mut(next);
        let numbered = (before.len()..).zip(from).chain((0..).zip(before));
        for (key, member) in numbered {
            if let Some(member) = member
                && member.is_ready()
            {
                member.parking.moved(); // if a wake led here, it was not a false wake
                self.next = key + 1;
                self.sleeper.idle_since = None;
                self.keep_readable();
                return Some(key);
            }
        }
        None
    }

    /// Takes all handles back from the reactor, for a blocking wait.
    fn disarm(&mut self) {
        if self.descriptor.is_some() {
            self.keep_readable();
            self.members.iter_mut().flatten().for_each(Member::disarm);
        }
    }

    /// Whether the cancel flag of a member is set.
    fn is_cancelled(&mut self) -> bool {
        let mut members = self.members.iter_mut().flatten();
        members.any(|member| deadline::is_set(member.end().cancel_flag()))
    }
}

impl<H> WaitSet<H> {
    /// How waits of this set spin. The default is [`WaitPolicy::Adaptive`].
    ///
    /// # Examples
    ///
    /// ```
    /// use shmpipe::{Consumer, WaitPolicy, WaitSet};
    ///
    /// let mut set = WaitSet::<Consumer>::new();
    /// set.set_wait_policy(WaitPolicy::Park);
    /// assert_eq!(set.wait_policy(), WaitPolicy::Park);
    /// ```
    #[must_use]
    pub fn wait_policy(&self) -> WaitPolicy {
        self.sleeper.policy
    }

    /// Sets how waits of this set spin. The policies of the handles do not apply. For an example, see
    /// [`wait_policy`](Self::wait_policy).
    pub fn set_wait_policy(&mut self, policy: WaitPolicy) {
        self.sleeper.policy = policy;
    }

    /// Fails in a process that has inherited the set by fork.
    fn check_process(&self) -> Result<(), WaitError> {
        match self.epoch.is_current() {
            true => Ok(()),
            false => Err(WaitError::Broken(Broken::Inherited)),
        }
    }
}

impl<H> Drop for WaitSet<H> {
    fn drop(&mut self) {
        self.keep_readable(); // for good: nobody serves the descriptor from now on
    }
}
