//! The calls that open a ring.

use std::path::Path;

use super::Options;
use crate::error::{Broken, OpenError, Place, WaitError};
use crate::handle::consumer::Consumer;
use crate::handle::producer::Producer;
use crate::handle::ring::Ring;
use crate::open::config::OpenConfig;
use crate::open::keyfile::KeyFile;
use crate::open::{self, Joined, Name};
use crate::role::Role;
use crate::segment::mapping::Mapping;
use crate::sys::events;
use crate::sys::sysv::{Key, Mode, Project, SegmentId};
use crate::wait::deadline::Deadline;

impl Options {
    /// Opens the ring of the file `path` for writing.
    ///
    /// Creates the ring if there is none, then waits for the consumer, as opening a
    /// FIFO does. The file must exist, or be [created](Options::create_file). Its
    /// contents do not matter and are not touched.
    ///
    /// # Errors
    ///
    /// Any [`OpenError`].
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
    /// # drop(producer);
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn open_producer(&self, path: impl AsRef<Path>) -> Result<Producer, OpenError> {
        self.producer_of(&self.file(path.as_ref())?)
    }

    /// Opens the ring of the file `path` for reading. Creates the ring if there is
    /// none, then waits for the producer.
    ///
    /// # Errors
    ///
    /// Any [`OpenError`].
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
    /// # drop(consumer);
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn open_consumer(&self, path: impl AsRef<Path>) -> Result<Consumer, OpenError> {
        self.consumer_of(&self.file(path.as_ref())?)
    }

    /// Opens the ring of a raw key for writing. Creates the ring if there is none,
    /// then waits for the consumer.
    ///
    /// A raw key has no file, and so no lock that openers could take in turn. So a
    /// segment that its creator left half made stays, and opening fails with
    /// [`OpenError::NotARing`] until [`remove`](crate::remove) has removed the
    /// segment.
    ///
    /// # Errors
    ///
    /// Any [`OpenError`] but those of files.
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
    /// # drop((producer, consumer));
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn open_producer_by_key(&self, key: Key) -> Result<Producer, OpenError> {
        self.producer_of(&Name::Key(key))
    }

    /// Opens the ring of a raw key for reading. Creates the ring if there is none,
    /// then waits for the producer. A half-made segment stays: see
    /// [`open_producer_by_key`](Options::open_producer_by_key).
    ///
    /// # Errors
    ///
    /// Any [`OpenError`] but those of files.
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
    /// # drop(consumer);
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn open_consumer_by_key(&self, key: Key) -> Result<Consumer, OpenError> {
        self.consumer_of(&Name::Key(key))
    }

    /// Creates a ring without a key. Its segment is marked for removal at once, so
    /// the kernel frees it with the last process that has it attached, however that
    /// process ends.
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
        let mapping = open::create_anonymous(&open)?;
        Ok(self.ring(mapping, open, false))
    }

    /// Creates a ring without a key and takes both roles, for two threads of this
    /// process. [`pair()`](crate::pair()) does this with the default options.
    ///
    /// # Errors
    ///
    /// The errors of [`create_anonymous`](Options::create_anonymous).
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

    /// Attaches the ring whose segment has this id, such as an id that another
    /// process has sent. Between a parent and its child, use
    /// [`Ring::spawn_consumer`], which also notices the death of the child.
    ///
    /// # Errors
    ///
    /// [`OpenError::Removed`], [`OpenError::NotARing`], [`OpenError::Untrusted`],
    /// [`OpenError::System`]. While another process is making the ring, for up to a
    /// second, also [`OpenError::TimedOut`] and [`OpenError::Cancelled`].
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
        let mapping = open::attach(id, &open);
        let mapping = mapping.map_err(|error| error.located(&Place::segment(id)))?;
        Ok(self.ring(mapping, open, true))
    }

    /// Returns a ring without roles, whose handles get these options.
    pub(crate) fn ring(&self, mapping: Mapping, open: OpenConfig, id_shared: bool) -> Ring {
        Ring::new(mapping, open, self.handle.clone(), id_shared)
    }

    fn file(&self, path: &Path) -> Result<Name, OpenError> {
        let open = self.checked()?;
        if self.create_file {
            KeyFile::create_if_missing(path, open.mode)?;
        }
        Ok(Name::File(self.key_file(path)?))
    }

    /// Opens the file `path` with the project id of these options.
    pub(crate) fn key_file(&self, path: &Path) -> Result<KeyFile, OpenError> {
        KeyFile::open(path, Project::new(self.project)?)
    }

    fn producer_of(&self, name: &Name) -> Result<Producer, OpenError> {
        let role = Role::Producer;
        self.open(name, role, |(mapping, claim), deadline| {
            let mut producer = Producer::new(mapping, claim, &self.handle)?;
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
        self.open(name, role, |(mapping, claim), deadline| {
            let mut consumer = Consumer::new(mapping, claim, &self.handle)?;
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

    /// Creates or joins the ring of `name`, and takes `role` in the ring. `handle`
    /// turns the result into a handle. One time limit holds for all of this.
    fn open<T>(
        &self,
        name: &Name,
        role: Role,
        handle: impl FnOnce(Joined, &Deadline) -> Result<T, OpenError>,
    ) -> Result<T, OpenError> {
        let config = self.checked()?;
        let mut deadline = config.deadline();
        let joined = open::open(name, role, &config, &mut deadline);
        let mut id = None;
        let opened = joined.and_then(|joined| {
            id = joined.0.id();
            handle(joined, &deadline)
        });
        let place = name.place().with_role(role);
        let opened = opened.map_err(|error| error.located(&place))?;
        events::opened(id, &place);
        Ok(opened)
    }

    /// Returns the options for opening, after checking their values.
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

/// The error of opening a persistent ring whose peer did not come.
fn not_awaited(cause: WaitError, role: Role, deadline: &Deadline) -> OpenError {
    match cause {
        WaitError::Cancelled => OpenError::Cancelled,
        WaitError::Broken(Broken::Corrupted(corruption)) => corruption.into(),
        // Only the time limit remains: in a persistent ring, neither an end nor a
        // death ends this wait.
        WaitError::TimedOut | WaitError::Ended | WaitError::Broken(_) => {
            deadline.timed_out(open::nobody_came(role))
        }
    }
}

/// Creates an anonymous ring of the default capacity and splits it, as
/// [`std::io::pipe`] does.
///
/// # Errors
///
/// The errors of [`Options::create_anonymous`].
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
    /// Opens the ring of the file `path` for writing, with the default [`Options`].
    /// Waits for the consumer: see [`Options::open_producer`].
    ///
    /// # Errors
    ///
    /// Any [`OpenError`].
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
    /// Opens the ring of the file `path` for reading, with the default [`Options`].
    /// Waits for the producer: see [`Options::open_consumer`].
    ///
    /// # Errors
    ///
    /// Any [`OpenError`].
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
