//! The options of a ring.

mod handle;
mod open;

use crate::handle::config::HandleConfig;
use crate::open::config::OpenConfig;

pub use open::pair;

/// The options of a ring: a builder. Its last call opens the ring.
///
/// | last call | returns | found by |
/// |---|---|---|
/// | [`open_producer`](Options::open_producer), [`open_consumer`](Options::open_consumer) | a role | a path |
/// | [`open_producer_by_key`](Options::open_producer_by_key), [`open_consumer_by_key`](Options::open_consumer_by_key) | a role | a key |
/// | [`producer_from_parent`](Options::producer_from_parent), [`consumer_from_parent`](Options::consumer_from_parent) | a role | the environment variable that the parent process sets |
/// | [`producer_from_parent_by_name`](Options::producer_from_parent_by_name), [`consumer_from_parent_by_name`](Options::consumer_from_parent_by_name) | a role | that variable, and a name in it |
/// | [`duplex_from_parent`](Options::duplex_from_parent) | a role in each of two rings | that variable |
/// | [`pair`](Options::pair) | both roles | nobody else |
/// | [`create_anonymous`](Options::create_anonymous) | a [`Ring`](crate::Ring) without roles | fork, or its id |
/// | [`attach`](Options::attach) | a [`Ring`](crate::Ring) without roles | an id |
/// | [`create_in`](Options::create_in), [`attach_in`](Options::attach_in) | a [`Ring`](crate::Ring) without roles | the caller's memory |
///
/// # Examples
///
/// ```
/// use std::io::{Read, Write};
/// use std::time::Duration;
///
/// let path = std::env::temp_dir().join(format!("shmpipe-doc-options-{}", std::process::id()));
/// std::fs::write(&path, "")?;
///
/// let mut options = shmpipe::Options::new();
/// options.capacity(64 << 10).timeout(Some(Duration::from_secs(10)));
///
/// let (sending, file) = (options.clone(), path.clone());
/// let sender = std::thread::spawn(move || -> std::io::Result<()> {
///     let mut producer = sending.open_producer(file)?;
///     producer.write_all(b"hello")
/// });
/// let mut text = String::new();
/// options.open_consumer(&path)?.read_to_string(&mut text)?;
/// assert_eq!(text, "hello");
/// sender.join().unwrap()?;
/// std::fs::remove_file(&path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    open: OpenConfig,
    handle: HandleConfig,
    project: u32,
    asked_mode: Option<u32>,
    create_file: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options::new()
    }
}

impl Options {
    /// Returns the defaults: [`DEFAULT_CAPACITY`](crate::DEFAULT_CAPACITY), mode
    /// 0600, project id 1, not persistent, no time limit.
    ///
    /// # Examples
    ///
    /// ```
    /// let ring = shmpipe::Options::new().create_anonymous()?;
    /// let (producer, _consumer) = ring.split()?;
    /// assert_eq!(producer.timeout(), None);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn new() -> Options {
        Options {
            open: OpenConfig::new(),
            handle: HandleConfig::new(),
            project: 1,
            asked_mode: None,
            create_file: false,
        }
    }

    /// Sets the capacity of the ring in bytes. The capacity is rounded up to a
    /// power of two, and to at least one page. For 0, and for more than 2^61, the
    /// call that opens the ring fails with
    /// [`OpenError::Capacity`](crate::OpenError::Capacity).
    ///
    /// An existing ring keeps a capacity that its creator asked for. Asking for
    /// another capacity fails with
    /// [`OpenError::CapacityMismatch`](crate::OpenError::CapacityMismatch). A ring
    /// whose creator asked for none is replaced by one of the capacity asked for,
    /// while its creator waits and nobody has joined it.
    ///
    /// A write may be longer than the ring, but a [grant](crate::WriteGrant) or a
    /// [record](crate::records) may not: a video frame of 6 MB needs a ring of 8 MiB. A larger
    /// ring can be slower, once it no longer fits the processor's cache.
    /// `guide::choosing` has advice, and the command that measures.
    ///
    /// # Examples
    ///
    /// ```
    /// use shmpipe::{OpenError, Options};
    ///
    /// let ring = Options::new().capacity(1_000_000).create_anonymous()?;
    /// assert_eq!(ring.capacity(), 1 << 20);
    /// assert!(matches!(Options::new().capacity(0).create_anonymous(), Err(OpenError::Capacity { .. })));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn capacity(&mut self, bytes: usize) -> &mut Options {
        self.open.capacity = Some(bytes);
        self
    }

    /// Sets the permission bits of a segment that the opening call makes, such as
    /// `0o660`. A segment that exists may have no other bits than these. The umask
    /// has no effect. Without `0o600`, or with bits beyond `0o777`, the opening call
    /// fails with [`OpenError::Mode`](crate::OpenError::Mode).
    ///
    /// # Examples
    ///
    /// ```
    /// use shmpipe::{OpenError, Options, sysv};
    ///
    /// # let path = std::env::temp_dir().join(format!("shmpipe-doc-mode-{}", std::process::id()));
    /// # std::fs::write(&path, "")?;
    /// let consumer = Options::new().mode(0o640).wait_for_peer(false).open_consumer(&path)?;
    /// let stat = sysv::stat(Options::new().snapshot(&path)?.id)?;
    /// assert_eq!(stat.mode.bits(), 0o640);
    /// // An opener that asks for 0600 refuses the wider segment.
    /// let narrow = Options::new().wait_for_peer(false).open_producer(&path);
    /// assert!(matches!(narrow, Err(OpenError::Untrusted { .. })));
    /// # drop(consumer);
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn mode(&mut self, bits: u32) -> &mut Options {
        self.asked_mode = Some(bits);
        self
    }

    /// Trusts the segments of this user too. The effective user, and each user
    /// named before, stay trusted.
    ///
    /// # Two users
    ///
    /// Run both processes with one effective group, ask for
    /// [`mode(0o660)`](Options::mode) in both, and name the other user here.
    /// `guide::deployment` has the recipe.
    ///
    /// # Examples
    ///
    /// ```
    /// use shmpipe::Options;
    ///
    /// # let path = std::env::temp_dir().join(format!("shmpipe-doc-owner-{}", std::process::id()));
    /// # std::fs::write(&path, "")?;
    /// let peer = 54321; // the other user's id, by getpwnam(3) or `id -u`
    /// let mut options = Options::new();
    /// options.mode(0o660).owner(peer).wait_for_peer(false);
    /// let consumer = options.open_consumer(&path)?; // makes the ring
    /// let producer = options.open_producer(&path)?; // our own segment stays trusted
    /// # drop((consumer, producer));
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn owner(&mut self, uid: u32) -> &mut Options {
        if !self.open.owners.contains(&uid) {
            self.open.owners.push(uid);
        }
        self
    }

    /// Sets the project id, 1 to 255, of ftok(3). One path can name 255 rings. The
    /// default is 1. With another number, the opening call fails with
    /// [`OpenError::Key`](crate::OpenError::Key).
    ///
    /// # Examples
    ///
    /// ```
    /// use shmpipe::{OpenError, Options};
    ///
    /// # let path = std::env::temp_dir().join(format!("shmpipe-doc-project-{}", std::process::id()));
    /// # std::fs::write(&path, "")?;
    /// let consumer = Options::new().project(7).wait_for_peer(false).open_consumer(&path)?;
    /// assert!(Options::new().project(7).snapshot(&path).is_ok());
    /// assert!(matches!(Options::new().project(8).snapshot(&path), Err(OpenError::NoRing { .. })));
    /// # drop(consumer);
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn project(&mut self, id: u32) -> &mut Options {
        self.project = id;
        self
    }

    /// Keeps the segment until somebody removes it on purpose, so that a reader can
    /// come long after the writer has gone. Opening does not wait for the peer; a
    /// producer may wait for places (below).
    ///
    /// # Streams and their ends
    ///
    /// A persistent ring is a queue of bytes with *ends* in it. Each producer
    /// begins a stream, unless it [resumes](Options::resume) one. Each stream has
    /// one end, after its last byte. Consumers get the ends in order, and each end is
    /// acknowledged once. These rules hold for rings in [the caller's
    /// memory](Options::create_in) too.
    ///
    /// | the producer | leaves | the consumer gets, after the last byte |
    /// |---|---|---|
    /// | closes, or drops its handle | the end *finished* | `Ok(0)` |
    /// | aborts, panics, or drops its handle under [`abort_on_drop`](Options::abort_on_drop) | the end *aborted* | [`ProducerAborted`](crate::Broken::ProducerAborted) |
    /// | [abandons](crate::Producer::abandon) the stream | what a death leaves | as below |
    /// | died, and another producer begins a stream | the end *died* | [`Died`](crate::Broken::Died) |
    /// | died without a byte, and another producer begins a stream | nothing | the next stream |
    /// | died, and another producer resumes | nothing | the bytes that follow |
    /// | died, and nobody follows | nothing yet | `Died`, from each call that would wait |
    ///
    /// | the consumer | does what |
    /// |---|---|
    /// | reads, peeks or drains at an end | gets that end at each call; no call returns bytes from after the end |
    /// | calls [`next_stream`](crate::Consumer::next_stream) | acknowledges the end, and continues with the next stream |
    /// | closes, or drops its handle, after a reading call returned the end | acknowledges the end |
    /// | leaves by [`abort`](crate::Consumer::abort), a panic, a drop under `abort_on_drop`, or dies | acknowledges nothing: the next consumer gets that end again |
    /// | is absent, has left or has died | the bytes queue until the ring is full, then the producer waits; see [`require_consumer`](Options::require_consumer) |
    ///
    /// The ring has places for 127 unacknowledged ends. A producer reserves two
    /// places when it opens the ring: one for its own end, one for a dead
    /// predecessor. Opening therefore succeeds while at most 125 places are taken.
    /// Opening waits for places within its time limit, then fails with
    /// [`OpenError::TooManyEnds`](crate::OpenError::TooManyEnds). Closing never
    /// waits.
    ///
    /// The first opener makes the ring. A later opener that asks for another
    /// [`capacity`](Options::capacity) is refused.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::{Read, Write};
    /// use shmpipe::Options;
    ///
    /// # let path = std::env::temp_dir().join(format!("shmpipe-doc-persistent-{}", std::process::id()));
    /// # std::fs::write(&path, "")?;
    /// let mut options = Options::new();
    /// options.persistent(true);
    /// options.open_producer(&path)?.write_all(b"one")?; // and the producer is gone
    /// options.open_producer(&path)?.write_all(b"two")?;
    /// let mut consumer = options.open_consumer(&path)?;
    /// let mut text = String::new();
    /// consumer.read_to_string(&mut text)?;
    /// assert_eq!(text, "one");
    /// assert!(consumer.next_stream()?);
    /// consumer.read_to_string(&mut text)?;
    /// assert_eq!(text, "onetwo");
    /// # drop(consumer);
    /// Options::new().remove(&path)?;
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn persistent(&mut self, persistent: bool) -> &mut Options {
        self.open.persistent = persistent;
        self
    }

    /// Makes a producer continue the stream of a dead producer at the exact
    /// position. [`Producer::stream_position`](crate::Producer::stream_position)
    /// returns how many bytes of the stream are in the ring. Without this option
    /// the stream is broken off, and the consumer gets
    /// [`Died`](crate::Broken::Died) at its last byte.
    ///
    /// A stream that was finished or aborted cannot be resumed: a new stream
    /// begins. The option has no effect on rings that are not persistent, which
    /// have one stream each.
    ///
    /// # Examples
    ///
    /// A writer that a supervisor restarts:
    ///
    /// ```
    /// use std::io::{self, Cursor, Seek, SeekFrom};
    /// use shmpipe::Options;
    ///
    /// # let path = std::env::temp_dir().join(format!("shmpipe-doc-resume-{}", std::process::id()));
    /// # std::fs::write(&path, "")?;
    /// # let mut source = Cursor::new(b"all of it");
    /// let mut options = Options::new();
    /// let mut log = options.persistent(true).resume(true).abort_on_drop(true).open_producer(&path)?;
    /// source.seek(SeekFrom::Start(log.stream_position()))?;
    /// io::copy(&mut source, &mut log)?; // `?` breaks off
    /// log.close()?; // only this finishes
    /// # drop(log);
    /// # Options::new().remove(&path)?;
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn resume(&mut self, resume: bool) -> &mut Options {
        self.open.resume = resume;
        self
    }

    /// Sets whether opening by path or key waits for the other side.
    ///
    /// The default is `true`, as for a FIFO, and `false` for a
    /// [persistent](Options::persistent) ring. With `false`, opening does not wait.
    /// If the consumer never comes, [`Producer::close`](crate::Producer::close)
    /// returns the number of unread bytes.
    ///
    /// A consumer of a persistent ring does not wait while there is something to
    /// read. If nobody comes within the [limit](Options::timeout), a persistent
    /// ring stays as it is.
    ///
    /// # Examples
    ///
    /// ```
    /// use shmpipe::{CloseError, Options};
    ///
    /// # let path = std::env::temp_dir().join(format!("shmpipe-doc-no-wait-{}", std::process::id()));
    /// # std::fs::write(&path, "")?;
    /// let mut producer = Options::new().wait_for_peer(false).open_producer(&path)?;
    /// producer.try_write(b"hello").unwrap();
    /// assert_eq!(producer.close(), Err(CloseError::NeverCame { unread: 5 }));
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "O_NONBLOCK")]
    pub fn wait_for_peer(&mut self, wait: bool) -> &mut Options {
        self.open.wait_for_peer = Some(wait);
        self
    }

    /// Sets whether opening by path creates the file that names the ring, empty, if
    /// the file is missing. The file gets the [mode](Options::mode) of the ring, 0600 by
    /// default, less the umask. The default is `false`, so that a mistyped path creates
    /// nothing.
    ///
    /// The file is made exclusively (`O_CREAT|O_EXCL`). So a symbolic link that leads
    /// nowhere is not followed: opening fails with
    /// [`OpenError::Path`](crate::OpenError::Path), and nothing is made. A link to a file
    /// that exists is followed. Nobody removes the file. Remove a persistent ring before its
    /// file: another file may get the same inode, and so find a ring that is not its own.
    ///
    /// # Examples
    ///
    /// ```
    /// use shmpipe::Options;
    ///
    /// let path = std::env::temp_dir().join(format!("shmpipe-doc-create-{}", std::process::id()));
    /// let mut options = Options::new();
    /// options.wait_for_peer(false);
    /// assert!(options.open_producer(&path).is_err());
    /// let producer = options.create_file(true).open_producer(&path)?;
    /// assert!(path.exists());
    /// # drop(producer);
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn create_file(&mut self, create: bool) -> &mut Options {
        self.create_file = create;
        self
    }

    /// Populates all pages of the ring, in memory and in the page tables of this
    /// process, before the call that takes a role returns. The full capacity is
    /// committed at once. Without this option each page is populated at its first
    /// use, and the first lap of the ring is slower. The option has no effect in
    /// [the caller's memory](Options::create_in).
    ///
    /// Populating does not count towards the [limit](Options::timeout) for opening,
    /// and the path's lock is not held meanwhile. The maker of a ring takes its
    /// role first, so that the other side can join. A process that joins takes its
    /// role after populating.
    ///
    /// Without enough memory, opening fails with
    /// [`OpenError::System`](crate::OpenError::System).
    ///
    /// # Examples
    ///
    /// ```
    /// let mut options = shmpipe::Options::new();
    /// let ring = options.capacity(1 << 20).prefault(true).create_anonymous()?;
    /// let (mut producer, _consumer) = ring.split()?;
    /// producer.try_write(&[7; 1 << 20]).unwrap(); // without a page fault
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn prefault(&mut self, prefault: bool) -> &mut Options {
        self.open.prefault = prefault;
        self
    }
}
