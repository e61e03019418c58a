//! What a set owns: handles, and what the set keeps about each.

use std::io;
use std::task::Waker;

use crate::handle::consumer::Consumer;
use crate::handle::endpoint::Endpoint;
use crate::handle::producer::Producer;
use crate::reactor::parking::Parking;

/// One end of a ring, borrowed from a member of a set: see [`AsEnd`].
#[derive(Debug)]
pub enum EndMut<'a> {
    /// Waits for room.
    Producer(&'a mut Producer),
    /// Waits for bytes.
    Consumer(&'a mut Consumer),
}

impl<'a> EndMut<'a> {
    fn end(self) -> &'a mut Endpoint {
        match self {
            EndMut::Producer(producer) => producer.end(),
            EndMut::Consumer(consumer) => consumer.end(),
        }
    }

    /// The endpoint, and the peer position from which on a wake is useful. A producer publishes
    /// what a batch holds back, since the consumer has to make room first.
    fn parts(self, least: usize) -> (&'a mut Endpoint, u64) {
        match self {
            EndMut::Producer(producer) => {
                let worth_a_wake = producer.quarter().max(least as u64);
                let (end, wanted, _) = producer.wait_for_room_parts(worth_a_wake);
                (end, wanted)
            }
            EndMut::Consumer(consumer) => {
                let (end, wanted, _) = consumer.wait_for_bytes_parts(least);
                (end, wanted)
            }
        }
    }
}

/// A member of a [`WaitSet`](crate::WaitSet): a [`Producer`], a [`Consumer`], an [`End`], or a type
/// of your own that owns one of them.
///
/// # Examples
///
/// A member that knows where its bytes go:
///
/// ```
/// use shmpipe::set::{AsEnd, EndMut};
/// use shmpipe::{Consumer, WaitSet};
///
/// struct Client {
///     consumer: Consumer,
///     received: Vec<u8>,
/// }
///
/// impl AsEnd for Client {
///     fn as_end(&mut self) -> EndMut<'_> {
///         EndMut::Consumer(&mut self.consumer)
///     }
/// }
///
/// let (mut producer, consumer) = shmpipe::pair()?;
/// let mut set = WaitSet::new();
/// set.insert(Client { consumer, received: Vec::new() });
/// producer.try_write(b"abc").unwrap();
/// if let Some(key) = set.wait()? {
///     let client = &mut set[key];
///     let mut bytes = [0; 8];
///     let len = client.consumer.try_read(&mut bytes)?;
///     client.received.extend_from_slice(&bytes[..len]);
///     assert_eq!(client.received, b"abc");
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
pub trait AsEnd {
    /// The handle to wait for. A member must return the same handle each time. If it returns
    /// another one, the set may notice a wake some ten milliseconds late, and a death never.
    ///
    /// The set calls this method many times in a wait. The method may panic: the set can still be
    /// used.
    ///
    /// With interior mutability, a member can be changed through [`WaitSet::get`], too. Do not wait
    /// with its handle there: that wait clears the sleeping word, and the set would not notice. Use
    /// [`WaitSet::get_mut`].
    ///
    /// [`WaitSet::get`]: crate::WaitSet::get
    /// [`WaitSet::get_mut`]: crate::WaitSet::get_mut
    fn as_end(&mut self) -> EndMut<'_>;
}

impl AsEnd for Producer {
    fn as_end(&mut self) -> EndMut<'_> {
        EndMut::Producer(self)
    }
}

impl AsEnd for Consumer {
    fn as_end(&mut self) -> EndMut<'_> {
        EndMut::Consumer(self)
    }
}

/// Either end of a ring, for a set of producers and consumers.
///
/// # Examples
///
/// ```
/// use shmpipe::WaitSet;
/// use shmpipe::set::End;
///
/// let ring = || shmpipe::Options::new().capacity(4096).create_anonymous()?.split();
/// let (mut full, mut reader) = ring()?;
/// full.try_write(&[7; 4096]).unwrap();
/// let (_writer, empty) = ring()?;
///
/// let mut set = WaitSet::new();
/// let out = set.insert(End::from(full));
/// set.insert(End::from(empty));
/// assert_eq!(set.try_wait()?, None); // no room, and no bytes
/// reader.try_read(&mut [0; 4096]).unwrap();
/// assert_eq!(set.wait()?, Some(out)); // room
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub enum End {
    /// Waits for room.
    Producer(Producer),
    /// Waits for bytes.
    Consumer(Consumer),
}

impl AsEnd for End {
    fn as_end(&mut self) -> EndMut<'_> {
        match self {
            End::Producer(producer) => EndMut::Producer(producer),
            End::Consumer(consumer) => EndMut::Consumer(consumer),
        }
    }
}

impl From<Producer> for End {
    fn from(producer: Producer) -> End {
        End::Producer(producer)
    }
}

impl From<Consumer> for End {
    fn from(consumer: Consumer) -> End {
        End::Consumer(consumer)
    }
}

/// A handle, and what the set keeps about it.
#[derive(Debug)]
pub(super) struct Member<H> {
    /// Dropped before the handle: the reactor then no longer looks at the handle.
    pub(super) parking: Parking,
    pub(super) handle: H,
    /// The number of bytes, or of bytes of room, that makes the member ready.
    least: usize,
    /// The handle's position when the member was last returned, and how often it has been returned
    /// at this position.
    returned: (u64, u32),
    /// Wakes in this slice after which the member was not ready.
    pub(super) false_wakes: u32,
    /// Whether the last look at the peer allowed a long sleep.
    pub(super) sleeps_long: bool,
    /// Whether the last look found that the peer can run only on the processor of this thread.
    pub(super) shares_processor: bool,
}

impl<H: AsEnd> Member<H> {
    pub(super) fn new(handle: H) -> Member<H> {
        Member {
            parking: Parking::default(),
            handle,
            least: 1,
            returned: (0, 0),
            false_wakes: 0,
            sleeps_long: false,
            shares_processor: false,
        }
    }

    /// Sets the number of bytes, or of bytes of room, that makes the member ready.
    pub(super) fn set_least(&mut self, least: usize) {
        let capacity = match self.handle.as_end() {
            EndMut::Producer(producer) => producer.capacity(),
            EndMut::Consumer(consumer) => consumer.capacity(),
        };
        self.least = least.clamp(1, capacity);
    }

    /// Whether a call that never waits would do something. Its only system call wakes a consumer
    /// that sleeps while a batch holds bytes back.
    #[inline]
    pub(super) fn is_ready(&mut self) -> bool {
        match self.handle.as_end() {
            EndMut::Producer(producer) => producer.is_ready(self.least),
            EndMut::Consumer(consumer) => consumer.is_ready(self.least),
        }
    }

    /// Counts that the set returns the member. Returns how often the set has done so at this
    /// position before.
    pub(super) fn note_returned(&mut self) -> u32 {
        let position = match self.handle.as_end() {
            EndMut::Producer(producer) => producer.position(),
            EndMut::Consumer(consumer) => consumer.position(),
        };
        self.returned = match self.returned {
            (before, times) if before == position => (position, times.saturating_add(1)),
            _ => (position, 0),
        };
        self.returned.1
    }

    pub(super) fn end(&mut self) -> &mut Endpoint {
        self.handle.as_end().end()
    }

    /// The endpoint, and the peer position from which on a wake is useful.
    pub(super) fn parts(&mut self) -> (&mut Endpoint, u64) {
        self.handle.as_end().parts(self.least)
    }

    /// Asks whether the peer lives. The next look at the member acts on the answer.
    pub(super) fn examine_peer(&mut self) {
        let waits_for_bytes = self.waits_for_bytes();
        let end = self.end();
        let sleeps_long = end.examine_peer(waits_for_bytes);
        let shares_processor = end.is_usable() && end.shares_processor();
        self.sleeps_long = sleeps_long;
        self.shares_processor = shares_processor;
    }

    pub(super) fn waits_for_bytes(&mut self) -> bool {
        matches!(self.handle.as_end(), EndMut::Consumer(_))
    }

    /// Takes the handle back from the reactor.
    pub(super) fn disarm(&mut self) {
        self.parking.resume(self.handle.as_end().end());
    }

    /// Arms the member, unless it is armed: see [`Parking::watch`]. Returns whether the caller must
    /// look once more.
    pub(super) fn arm(&mut self, waker: &Waker) -> io::Result<bool> {
        if self.parking.is_armed() {
            return Ok(false);
        }
        let waits_for_bytes = self.waits_for_bytes();
        let (end, wanted) = self.handle.as_end().parts(self.least);
        self.parking.watch(end, waker, wanted, waits_for_bytes)?;
        Ok(true)
    }
}
