//! A ring whose roles are not taken yet, to be split between threads, or shared by
//! fork or exec.

use std::cell::Cell;
use std::fmt;

use super::config::HandleConfig;
use crate::error::{OpenError, Place};
use crate::handle::consumer::Consumer;
use crate::handle::producer::Producer;
use crate::open;
use crate::open::config::OpenConfig;
use crate::peer::{self, Occupant};
use crate::role::Role;
use crate::segment::mapping::Mapping;
use crate::sys::sysv::{Key, SegmentId};

/// A ring without a role.
///
/// - Threads: [`split`](Ring::split) it.
/// - Parent and child: create the ring, fork, and let each process turn its copy
///   into its end.
/// - Across exec: [`spawn_consumer`](Ring::spawn_consumer) and
///   [`spawn_producer`](Ring::spawn_producer) start the child. Or send
///   [`id`](Ring::id) to another process, for
///   [`Options::attach`](crate::Options::attach).
///
/// Dropping the ring detaches the segment and has no other effect.
///
/// # Examples
///
/// Parent and child:
///
/// ```
/// use std::io::{Read, Write};
///
/// let ring = shmpipe::Options::new().create_anonymous()?;
/// // SAFETY: this process has one thread.
/// match unsafe { libc::fork() } {
///     0 => {
///         let done = ring.into_producer().map(|mut producer| producer.write_all(b"from the child"));
///         // SAFETY: ends the child without running what belongs to the parent.
///         unsafe { libc::_exit(if matches!(done, Ok(Ok(()))) { 0 } else { 1 }) }
///     }
///     child => {
///         let mut consumer = ring.into_consumer()?;
///         let mut bytes = [0; 14];
///         consumer.read_exact(&mut bytes)?;
///         assert_eq!(&bytes, b"from the child");
///         // SAFETY: waits for a child of ours, whose status is not wanted.
///         unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
///     }
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use = "a ring without a role moves nothing"]
pub struct Ring {
    mapping: Mapping,
    open: OpenConfig,
    handle: HandleConfig,
    id_shared: Cell<bool>,
}

impl Ring {
    pub(crate) fn new(
        mapping: Mapping,
        open: OpenConfig,
        handle: HandleConfig,
        id_shared: bool,
    ) -> Ring {
        Ring {
            mapping,
            open,
            handle,
            id_shared: Cell::new(id_shared),
        }
    }

    /// The id of the ring's segment. Another process can attach the ring by this id
    /// while any process has it attached. `None` for a ring in [the caller's
    /// memory](crate::Options::create_in).
    ///
    /// This call assumes that the caller gives the id to another process: see
    /// [`Producer::id`].
    ///
    /// # Examples
    ///
    /// ```
    /// let options = shmpipe::Options::new();
    /// let ring = options.create_anonymous()?;
    /// let id = ring.id().expect("it is in a segment");
    /// // The other process gets the id, and calls:
    /// let mut consumer = options.attach(id)?.into_consumer()?;
    /// ring.into_producer()?.try_write(b"abc").unwrap();
    /// assert_eq!(consumer.available()?, 3);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn id(&self) -> Option<SegmentId> {
        self.id_shared.set(true);
        self.mapping.id()
    }

    /// The id of the ring's segment, for people to read. Unlike [`id`](Self::id),
    /// this call does not assume that another process gets the id.
    ///
    /// # Examples
    ///
    /// ```
    /// let ring = shmpipe::Options::new().create_anonymous()?;
    /// println!("a ring in segment {}", ring.id_for_log().unwrap());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn id_for_log(&self) -> Option<SegmentId> {
        self.mapping.id()
    }

    /// The key that leads to the ring now, as the kernel says. One system call.
    ///
    /// `None` for an anonymous ring, a named ring whose ends are both open, a
    /// removed ring, and a ring in [the caller's
    /// memory](crate::Options::create_in). `Some` may be out of date at once.
    ///
    /// # Examples
    ///
    /// ```
    /// let path = std::env::temp_dir().join(format!("shmpipe-doc-key-{}", std::process::id()));
    /// std::fs::write(&path, "")?;
    /// let mut options = shmpipe::Options::new();
    /// let producer = options.wait_for_peer(false).open_producer(&path)?;
    /// let key = producer.key().expect("nobody has joined it");
    /// let consumer = options.open_consumer_by_key(key)?;
    /// assert_eq!((producer.key(), consumer.key()), (None, None)); // both ends are open
    ///
    /// assert_eq!(options.create_anonymous()?.key(), None);
    /// # drop((producer, consumer));
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn key(&self) -> Option<Key> {
        self.mapping.key()
    }

    /// A random number that identifies the ring. A later ring with the same id or
    /// path has another number. The number is not secret.
    ///
    /// # Examples
    ///
    /// ```
    /// let ring = shmpipe::Options::new().create_anonymous()?;
    /// let nonce = ring.nonce();
    /// let (producer, consumer) = ring.split()?;
    /// assert_eq!((producer.nonce(), consumer.nonce()), (nonce, nonce));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn nonce(&self) -> u64 {
        self.mapping.geometry().nonce
    }

    /// Capacity of the ring in bytes.
    ///
    /// # Examples
    ///
    /// ```
    /// let ring = shmpipe::Options::new().capacity(1_000_000).create_anonymous()?;
    /// assert_eq!(ring.capacity(), 1 << 20);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.mapping.geometry().capacity
    }

    /// Takes the role of the producer. Waits up to 100 ms for another process in the
    /// middle of a claim. In a [persistent](crate::Options::persistent) ring, waits
    /// for places for ends of streams, within the
    /// [time limit](crate::Options::timeout).
    ///
    /// # Errors
    ///
    /// [`OpenError::RoleTaken`] if a process has or had the role. A persistent
    /// ring's role can be taken after its holder has left or died.
    /// [`OpenError::TooManyEnds`] if a persistent ring has no places within the time
    /// limit, [`OpenError::Cancelled`]. [`OpenError::Removed`] if the ring takes no
    /// new holders. [`OpenError::System`] if
    /// [prefaulting](crate::Options::prefault) fails. [`OpenError::Corrupted`] if
    /// earlier holders broke the protocol.
    ///
    /// # Examples
    ///
    /// ```
    /// let ring = shmpipe::Options::new().create_anonymous()?;
    /// let mut producer = ring.into_producer()?; // the consumer may come by fork
    /// producer.try_write(b"abc").unwrap();
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn into_producer(self) -> Result<Producer, OpenError> {
        let claim = open::claim(&self.mapping, Role::Producer, &self.open)?;
        Producer::with(self.mapping, claim, &self.handle, self.id_shared.get())
    }

    /// Takes the role of the consumer. Waits only for another process in the middle
    /// of a claim, up to 100 ms.
    ///
    /// # Errors
    ///
    /// The errors of [`into_producer`](Ring::into_producer), except
    /// [`OpenError::TooManyEnds`] and [`OpenError::Cancelled`].
    ///
    /// # Examples
    ///
    /// ```
    /// use shmpipe::TryReadError;
    ///
    /// let ring = shmpipe::Options::new().create_anonymous()?;
    /// let mut consumer = ring.into_consumer()?; // the producer may come by fork
    /// assert_eq!(consumer.try_read(&mut [0]), Err(TryReadError::Empty));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn into_consumer(self) -> Result<Consumer, OpenError> {
        let claim = open::claim(&self.mapping, Role::Consumer, &self.open)?;
        Consumer::with(self.mapping, claim, &self.handle, self.id_shared.get())
    }

    /// Fails, without taking it, if `role` is taken or was left for good.
    pub(crate) fn check_free(&self, role: Role) -> Result<(), OpenError> {
        let header = self.mapping.header();
        let persists = self.mapping.geometry().kind.persists();
        let pid = match peer::occupant(header, header.state(), role) {
            Occupant::Process(pid) => pid,
            Occupant::Dead(pid) if !persists => pid,
            Occupant::Left if !persists => 0,
            _ => return Ok(()),
        };
        let at = Place::segment(self.mapping.id()).with_role(role);
        Err(OpenError::RoleTaken { at, role, pid })
    }

    /// Takes both roles, for two threads of this process.
    ///
    /// # Errors
    ///
    /// The errors of [`into_producer`](Ring::into_producer).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::Read;
    ///
    /// let (producer, mut consumer) = shmpipe::Options::new().create_anonymous()?.split()?;
    /// let writer = std::thread::spawn(move || {
    ///     let mut producer = producer;
    ///     producer.try_write(b"from another thread")
    /// });
    /// let mut text = String::new();
    /// consumer.read_to_string(&mut text)?;
    /// assert_eq!(text, "from another thread");
    /// # writer.join().unwrap().unwrap();
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn split(self) -> Result<(Producer, Consumer), OpenError> {
        let producing = open::claim(&self.mapping, Role::Producer, &self.open)?;
        let mut producer = Producer::with(self.mapping.clone(), producing, &self.handle, true)?;
        let consumer = open::claim(&self.mapping, Role::Consumer, &self.open)
            .and_then(|consuming| Consumer::with(self.mapping, consuming, &self.handle, true));
        match consumer {
            Ok(consumer) => Ok((producer, consumer)),
            Err(error) => {
                producer.withdraw(); // leaves no end of a stream that nobody wrote
                Err(error)
            }
        }
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring")
            .field("id", &self.mapping.id())
            .field("capacity", &self.capacity())
            .finish_non_exhaustive()
    }
}
