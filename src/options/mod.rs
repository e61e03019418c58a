//! What can be chosen when a ring is opened.

mod handle;
mod open;

use crate::handle::config::HandleConfig;
use crate::open::config::OpenConfig;

pub use open::pair;

/// How to open a ring: a builder, ended by one of the calls that open.
///
/// | ends with | gives | found by |
/// |---|---|---|
/// | [`open_producer`](Options::open_producer), [`open_consumer`](Options::open_consumer) | a role | a path |
/// | [`open_producer_by_key`](Options::open_producer_by_key), [`open_consumer_by_key`](Options::open_consumer_by_key) | a role | a key |
/// | [`producer_from_parent`](Options::producer_from_parent), [`consumer_from_parent`](Options::consumer_from_parent) | a role | what the parent process says |
/// | [`create_anonymous`](Options::create_anonymous) | a [`Ring`] without roles | fork, or its id |
/// | [`attach`](Options::attach) | a [`Ring`] without roles | an id |
/// | [`create_in`](Options::create_in), [`attach_in`](Options::attach_in) | a [`Ring`] without roles | memory of the caller's |
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
    /// The defaults: [`DEFAULT_CAPACITY`](crate::DEFAULT_CAPACITY), mode 0600, project id 1, not
    /// persistent, no time limit.
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

    /// Bytes of the ring, rounded up to a power of two of at least a page.
    ///
    /// A ring that is there keeps its capacity. A capacity asked for here
    /// replaces one that nobody asked for, as long as nobody has joined that
    /// ring; against another one that was asked for, opening fails with
    /// [`OpenError::CapacityMismatch`].
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

    /// Permission bits of a segment that is made here, such as `0o660`, and
    /// the most that one found may have. The umask has no effect on them.
    ///
    /// # Examples
    ///
    /// ```
    /// use shmpipe::{OpenError, Options, sysv};
    ///
    /// # let path = std::env::temp_dir().join(format!("shmpipe-doc-mode-{}", std::process::id()));
    /// # std::fs::write(&path, "")?;
    /// let _consumer = Options::new().mode(0o640).wait_for_peer(false).open_consumer(&path)?;
    /// let stat = sysv::stat(Options::new().snapshot(&path)?.id)?;
    /// assert_eq!(stat.mode.bits(), 0o640);
    /// // Not for one who asks for nothing wider than 0600.
    /// let narrow = Options::new().wait_for_peer(false).open_producer(&path);
    /// assert!(matches!(narrow, Err(OpenError::Untrusted { .. })));
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn mode(&mut self, bits: u32) -> &mut Options {
        self.asked_mode = Some(bits);
        self
    }

    /// Trusts the segments of this user too, besides those of the effective
    /// user and of the users named before.
    ///
    /// # Two users
    ///
    /// Both run with one effective group, ask for [`mode(0o660)`](Options::mode),
    /// and name each other here. `guide::deployment` has the recipe.
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
    /// let _consumer = options.open_consumer(&path)?; // makes the ring
    /// let _producer = options.open_producer(&path)?; // ours is trusted as well
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn owner(&mut self, uid: u32) -> &mut Options {
        if !self.open.owners.contains(&uid) {
            self.open.owners.push(uid);
        }
        self
    }

    /// The project id, 1 to 255: one path can name as many rings.
    ///
    /// # Examples
    ///
    /// ```
    /// use shmpipe::{OpenError, Options};
    ///
    /// # let path = std::env::temp_dir().join(format!("shmpipe-doc-project-{}", std::process::id()));
    /// # std::fs::write(&path, "")?;
    /// let _consumer = Options::new().project(7).wait_for_peer(false).open_consumer(&path)?;
    /// assert!(Options::new().project(7).snapshot(&path).is_ok());
    /// assert!(matches!(Options::new().project(8).snapshot(&path), Err(OpenError::NoRing { .. })));
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn project(&mut self, id: u32) -> &mut Options {
        self.project = id;
        self
    }

    /// Keeps the segment until it is removed on purpose, so that a reader can
    /// come long after the writer has gone. Opening waits for nobody, but for
    /// places (below).
    ///
    /// # Streams and their ends
    ///
    /// A ring that persists is a queue of bytes with *ends* in it. Each producer
    /// begins a stream, unless it [resumes](Options::resume) one. Each stream has
    /// one end, at its last byte. The consumer gets the ends in order, whoever
    /// opens when, and each is acknowledged once. The same holds for rings in
    /// [memory of the caller's](Options::create_in).
    ///
    /// | the producer | leaves | the consumer gets, after the last byte |
    /// |---|---|---|
    /// | closes, or drops its handle | the end *finished* | `Ok(0)` |
    /// | aborts, panics, or drops its handle under [`abort_on_drop`](Options::abort_on_drop) | the end *aborted* | [`ProducerAborted`](crate::Broken::ProducerAborted) |
    /// | died, and another one begins a stream | the end *died* | [`Died`](crate::Broken::Died) |
    /// | died without a byte, and another one begins a stream | nothing | the next stream |
    /// | died, and another one resumes | nothing | the bytes that follow |
    /// | died, and nobody follows | nothing yet | `Died`, from each call that would wait |
    ///
    /// | the consumer | does what |
    /// |---|---|
    /// | reads, peeks or drains at an end | gets that end again and again; no call returns bytes from behind it |
    /// | calls [`next_stream`](crate::Consumer::next_stream) | acknowledges the end, and goes on with the next stream |
    /// | closes, or drops its handle, after a reading call returned the end | acknowledges it |
    /// | leaves by [`abort`](crate::Consumer::abort), a panic, a drop under `abort_on_drop`, or dies | acknowledges nothing: the next consumer gets that end again |
    /// | is not there, left or dead | the bytes queue until the ring is full, then the producer waits; see [`require_consumer`](Options::require_consumer) |
    ///
    /// There are places for 127 ends that are not acknowledged. A producer
    /// reserves two when it opens the ring: its own, and that of one who died
    /// before it. So it opens where at most 125 are taken. Opening waits for
    /// places within its time limit, then fails with [`OpenError::TooManyEnds`];
    /// closing never waits.
    ///
    /// Whoever comes first makes the ring. One who asks for another
    /// [`capacity`](Options::capacity) later is refused.
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

    /// Has a producer go on with the stream of one that died, at the exact
    /// position: [`Producer::stream_position`] says how many bytes of the stream
    /// are in the ring. Without this, that stream is broken off, and the consumer
    /// gets [`Died`](crate::Broken::Died) at its last byte.
    ///
    /// A stream that was finished or aborted cannot be resumed: a new one begins.
    /// Has no effect on rings that do not persist, which have one stream each.
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

    /// Whether opening by path or key waits until the other side has come.
    ///
    /// Unless said, by life cycle: `true`, as of a FIFO, but `false` of a ring that
    /// [persists](Options::persistent). With `false` it opens at once, whether the
    /// other side is there or not; should that never come, [`Producer::close`] says
    /// how many bytes nobody will read.
    ///
    /// A consumer of a ring that persists waits for nobody where there is
    /// something to read already. Where nobody comes within the
    /// [limit](Options::timeout), that ring stays as it was found or made.
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

    /// Makes the file that names the ring, empty, where there is none: for opening by
    /// path. It gets the [mode](Options::mode) of the ring, less the umask. Unless
    /// said, `false`: a path that was mistyped makes nothing.
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

    /// Has every page of the ring be there, in memory and in the address space
    /// of this process, before the call that takes a role returns. Otherwise
    /// each comes when it is first used, so that the first lap of the ring is
    /// slower. The ring takes all of its memory at once. Has no effect in
    /// [memory of the caller's](Options::create_in).
    ///
    /// The time that this takes does not count towards the
    /// [limit](Options::timeout) for opening. The path's lock is not held
    /// meanwhile. Whoever makes the ring has its role before, so that the other
    /// side finds it and need not wait; whoever joins one takes the role after.
    ///
    /// Where there is not enough memory, opening fails with
    /// [`OpenError::System`].
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
