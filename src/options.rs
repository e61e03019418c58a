//! What can be chosen when a ring is opened.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::error::{Broken, OpenError, Place, WaitError};
use crate::handle::config::HandleConfig;
use crate::handle::consumer::Consumer;
use crate::handle::producer::Producer;
use crate::handle::ring::Ring;
use crate::open::config::OpenConfig;
use crate::open::keyfile::KeyFile;
use crate::open::{self, Joined, Name};
use crate::role::Role;
use crate::segment::region::mapped::MappedRegion;
use crate::sys::sysv::{Key, Mode, Project, SegmentId};
use crate::wait::WaitPolicy;
use crate::wait::deadline::Deadline;
use crate::wait::pace::Pace;

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

    /// Opens the ring of the file `path` for writing.
    ///
    /// Makes the ring if it is not there, then waits for the consumer, as
    /// opening a FIFO does. The file must exist, or be
    /// [made](Options::create_file); its contents do not matter and are not
    /// touched.
    ///
    /// # Errors
    ///
    /// Every [`OpenError`].
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::Write;
    /// use shmpipe::Options;
    ///
    /// # let path = std::env::temp_dir().join(format!("shmpipe-doc-by-path-p-{}", std::process::id()));
    /// # std::fs::write(&path, "")?;
    /// # let other = path.clone();
    /// # let coming = std::thread::spawn(move || Options::new().open_consumer(other));
    /// let mut producer = Options::new().capacity(1 << 20).open_producer(&path)?;
    /// producer.write_all(b"hello")?;
    /// # drop(coming.join().unwrap()?);
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn open_producer(&self, path: impl AsRef<Path>) -> Result<Producer, OpenError> {
        self.producer_of(&self.file(path.as_ref())?)
    }

    /// Opens the ring of the file `path` for reading.
    ///
    /// # Errors
    ///
    /// As [`open_producer`](Options::open_producer).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::Read;
    /// use shmpipe::Options;
    ///
    /// # let path = std::env::temp_dir().join(format!("shmpipe-doc-by-path-c-{}", std::process::id()));
    /// # std::fs::write(&path, "")?;
    /// # let other = path.clone();
    /// # let coming = std::thread::spawn(move || Options::new().open_producer(other).map(drop));
    /// let mut consumer = Options::new().capacity(1 << 20).open_consumer(&path)?;
    /// let mut bytes = Vec::new();
    /// consumer.read_to_end(&mut bytes)?;
    /// # coming.join().unwrap()?;
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn open_consumer(&self, path: impl AsRef<Path>) -> Result<Consumer, OpenError> {
        self.consumer_of(&self.file(path.as_ref())?)
    }

    /// Opens the ring of a raw key for writing.
    ///
    /// Without a file there is no lock that two openers could take turns by,
    /// so what a creator left half made stays: remove it by hand.
    ///
    /// # Errors
    ///
    /// As [`open_producer`](Options::open_producer).
    ///
    /// # Examples
    ///
    /// ```
    /// use shmpipe::Options;
    /// use shmpipe::sysv::{Key, Project};
    ///
    /// # let path = std::env::temp_dir().join(format!("shmpipe-doc-by-key-p-{}", std::process::id()));
    /// # std::fs::write(&path, "")?;
    /// let key = Key::from_path(&path, Project::default())?; // or one that both sides know
    /// let mut producer = Options::new().wait_for_peer(false).open_producer_by_key(key)?;
    /// let mut consumer = Options::new().open_consumer_by_key(key)?;
    /// producer.try_write(b"abc").unwrap();
    /// assert_eq!(consumer.available()?, 3);
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn open_producer_by_key(&self, key: Key) -> Result<Producer, OpenError> {
        self.producer_of(&Name::Key(key))
    }

    /// Opens the ring of a raw key for reading.
    ///
    /// # Errors
    ///
    /// As [`open_producer_by_key`](Options::open_producer_by_key).
    ///
    /// # Examples
    ///
    /// ```
    /// use shmpipe::Options;
    /// use shmpipe::sysv::{Key, Project};
    ///
    /// # let path = std::env::temp_dir().join(format!("shmpipe-doc-by-key-c-{}", std::process::id()));
    /// # std::fs::write(&path, "")?;
    /// let key = Key::from_path(&path, Project::default())?; // or one that both sides know
    /// let mut consumer = Options::new().wait_for_peer(false).open_consumer_by_key(key)?;
    /// drop(Options::new().open_producer_by_key(key)?);
    /// assert_eq!(consumer.try_read(&mut [0]), Ok(0)); // the end
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn open_consumer_by_key(&self, key: Key) -> Result<Consumer, OpenError> {
        self.consumer_of(&Name::Key(key))
    }

    /// Makes a ring that no key leads to. Its segment is removed at birth, so
    /// it goes with the last process that has it, however that ends.
    ///
    /// # Errors
    ///
    /// [`OpenError::Capacity`], [`OpenError::Mode`], [`OpenError::System`].
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut producer, mut consumer) = shmpipe::Options::new().create_anonymous()?.split()?;
    /// producer.try_write(b"abc").unwrap();
    /// assert_eq!(consumer.available()?, 3);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn create_anonymous(&self) -> Result<Ring, OpenError> {
        let open = self.checked()?;
        let region = open::create_anonymous(&open)?;
        Ok(self.ring(region, open, false))
    }

    /// Makes a ring that no key leads to, and takes both of its roles, for two threads
    /// of this process: as [`pair()`](crate::pair()), with these options.
    ///
    /// # Errors
    ///
    /// As [`create_anonymous`](Options::create_anonymous).
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut producer, mut consumer) = shmpipe::Options::new().capacity(1 << 20).pair()?;
    /// producer.try_write(b"abc").unwrap();
    /// assert_eq!(consumer.available()?, 3);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn pair(&self) -> Result<(Producer, Consumer), OpenError> {
        self.create_anonymous()?.split()
    }

    /// Attaches the ring whose segment has this id, such as one that another
    /// process has sent here. From a parent to its child,
    /// [`Ring::spawn_consumer`] does more.
    ///
    /// # Errors
    ///
    /// [`OpenError::Removed`], [`OpenError::NotARing`],
    /// [`OpenError::Untrusted`], [`OpenError::System`]; while the ring is being
    /// made, which it may be for a second, [`OpenError::TimedOut`] and
    /// [`OpenError::Cancelled`].
    ///
    /// # Examples
    ///
    /// ```
    /// use shmpipe::Options;
    ///
    /// # let path = std::env::temp_dir().join(format!("shmpipe-doc-attach-{}", std::process::id()));
    /// # std::fs::write(&path, "")?;
    /// let mut options = Options::new();
    /// let mut producer = options.persistent(true).open_producer(&path)?;
    /// let id = Options::new().snapshot(&path)?.id; // or one that was sent here
    /// let mut consumer = options.attach(id)?.into_consumer()?;
    /// producer.try_write(b"abc").unwrap();
    /// assert_eq!(consumer.available()?, 3);
    /// # drop((producer, consumer));
    /// # Options::new().remove(&path)?;
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn attach(&self, id: SegmentId) -> Result<Ring, OpenError> {
        let open = self.checked()?;
        let region = open::attach(id, &open);
        let region = region.map_err(|error| error.located(&Place::segment(id)))?;
        Ok(self.ring(region, open, true))
    }

    /// A ring without roles, whose handles get what was asked for here.
    pub(crate) fn ring(&self, region: MappedRegion, open: OpenConfig, handed_over: bool) -> Ring {
        Ring::new(region, open, self.handle.clone(), handed_over)
    }

    fn file(&self, path: &Path) -> Result<Name, OpenError> {
        let open = self.checked()?;
        if self.create_file {
            KeyFile::create_if_missing(path, open.mode)?;
        }
        Ok(Name::File(self.key_file(path)?))
    }

    /// The file `path`, with the project id.
    pub(crate) fn key_file(&self, path: &Path) -> Result<KeyFile, OpenError> {
        KeyFile::open(path, Project::new(self.project)?)
    }

    fn producer_of(&self, name: &Name) -> Result<Producer, OpenError> {
        let role = Role::Producer;
        self.open(name, role, |(region, claim), deadline| {
            let mut producer = Producer::new(region, claim, &self.handle)?;
            if self.open.persistent && self.open.waits_for_peer() {
                let waited = producer.wait_for_peer_until(deadline.at());
                waited.map_err(|cause| {
                    producer.withdraw();
                    not_awaited(cause, role, deadline)
                })?;
            }
            Ok(producer)
        })
    }

    fn consumer_of(&self, name: &Name) -> Result<Consumer, OpenError> {
        let role = Role::Consumer;
        self.open(name, role, |(region, claim), deadline| {
            let mut consumer = Consumer::new(region, claim, &self.handle)?;
            if self.open.persistent && self.open.waits_for_peer() {
                let waited = consumer.wait_for_peer_until(deadline.at());
                waited.map_err(|cause| {
                    consumer.abort();
                    not_awaited(cause, role, deadline)
                })?;
            }
            Ok(consumer)
        })
    }

    /// Makes or joins the ring that `name` leads to, and takes `role` in it; `handle`
    /// makes a handle of that. One limit holds for all of it.
    fn open<T>(
        &self,
        name: &Name,
        role: Role,
        handle: impl FnOnce(Joined, &Deadline) -> Result<T, OpenError>,
    ) -> Result<T, OpenError> {
        let config = self.checked()?;
        let mut deadline = config.deadline();
        let joined = open::open(name, role, &config, &mut deadline);
        let opened = joined.and_then(|joined| handle(joined, &deadline));
        opened.map_err(|error| error.located(&name.place().with_role(role)))
    }

    /// The options, once nothing in them is impossible.
    pub(crate) fn checked(&self) -> Result<OpenConfig, OpenError> {
        let mut open = self.open.clone();
        if let Some(asked) = self.asked_mode {
            open.mode = Mode::new(asked)
                .filter(|mode| mode.bits() & 0o600 == 0o600)
                .ok_or(OpenError::Mode { asked })?;
        }
        open.ring_bytes()?;
        Ok(open)
    }
}

/// What opening a ring that persists fails with where its peer did not come.
fn not_awaited(cause: WaitError, role: Role, deadline: &Deadline) -> OpenError {
    match cause {
        WaitError::Cancelled => OpenError::Cancelled,
        WaitError::Broken(Broken::Corrupted(corruption)) => corruption.into(),
        // Of a ring that persists the rest is no reason to stop waiting.
        WaitError::TimedOut | WaitError::Ended | WaitError::Broken(_) => {
            deadline.timed_out(open::nobody_came(role))
        }
    }
}

/// Makes an anonymous ring of the default capacity and splits it, as
/// [`std::io::pipe`] does.
///
/// # Errors
///
/// As [`Options::create_anonymous`].
///
/// # Examples
///
/// ```
/// use std::io::{Read, Write};
///
/// let (mut producer, mut consumer) = shmpipe::pair()?;
/// let writer = std::thread::spawn(move || producer.write_all(&[7; 10_000_000]));
/// let mut bytes = Vec::new();
/// consumer.read_to_end(&mut bytes)?;
/// assert_eq!(bytes, [7; 10_000_000]);
/// writer.join().unwrap()?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn pair() -> Result<(Producer, Consumer), OpenError> {
    Options::new().pair()
}

impl Producer {
    /// Opens the ring of the file `path` for writing, with the default
    /// [`Options`].
    ///
    /// # Errors
    ///
    /// As [`Options::open_producer`].
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::Write;
    ///
    /// # let path = std::env::temp_dir().join(format!("shmpipe-doc-producer-{}", std::process::id()));
    /// # std::fs::write(&path, "")?;
    /// # let other = path.clone();
    /// # let coming = std::thread::spawn(move || shmpipe::Consumer::open(other));
    /// let mut producer = shmpipe::Producer::open(&path)?; // waits for the consumer
    /// producer.write_all(b"hello")?;
    /// # drop(coming.join().unwrap()?);
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn open(path: impl AsRef<Path>) -> Result<Producer, OpenError> {
        Options::new().open_producer(path)
    }
}

impl Consumer {
    /// Opens the ring of the file `path` for reading, with the default
    /// [`Options`].
    ///
    /// # Errors
    ///
    /// As [`Options::open_consumer`].
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::Read;
    ///
    /// # let path = std::env::temp_dir().join(format!("shmpipe-doc-consumer-{}", std::process::id()));
    /// # std::fs::write(&path, "")?;
    /// # let other = path.clone();
    /// # let coming = std::thread::spawn(move || shmpipe::Producer::open(other).map(drop));
    /// let mut consumer = shmpipe::Consumer::open(&path)?; // waits for the producer
    /// let mut bytes = Vec::new();
    /// consumer.read_to_end(&mut bytes)?;
    /// # coming.join().unwrap()?;
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn open(path: impl AsRef<Path>) -> Result<Consumer, OpenError> {
        Options::new().open_consumer(path)
    }
}
