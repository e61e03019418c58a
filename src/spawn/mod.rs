//! Giving ends of rings to a child process, and taking these ends in the child.
//!
//! exec(2) ends every attachment, so the child attaches each ring again. The
//! environment variable `SHMPIPE_RING` tells the child which rings
//! ([`variable`]).
//!
//! 1. The parent takes its role before the child starts. If starting fails, the parent
//!    only gives its role up again.
//! 2. For each end, the parent opens a pidfd of the child before the child can be reaped. The pidfd
//!    proves the exit of a child that never took its role.
//! 3. Until the child has attached the segment, the parent has the only attachment.
//!    A producer that finishes therefore waits for the child
//!    ([`Endpoint::await_child`](crate::handle::endpoint::Endpoint)).
//! 4. A child that has taken an end strikes the entry out of its environment. So the
//!    processes that it starts are given nothing.
//!
//! This file has more than 450 lines because almost two thirds of them are documentation with
//! examples.

mod take;
mod variable;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::process::{Child, Command};

use self::variable::{Entry, VARIABLE, is_name};
use crate::error::{OpenError, Place};
use crate::handle::consumer::Consumer;
use crate::handle::producer::Producer;
use crate::handle::ring::Ring;
use crate::options::Options;
use crate::peer::Occupant;
use crate::role::Role;
use crate::segment::identity::Geometry;

pub use self::take::duplex_from_parent;

/// Several ends for one child process, by name.
///
/// The parent keeps one handle of each ring, and the child gets the other end. For one
/// ring, [`Ring::spawn_consumer`] and [`Ring::spawn_producer`] are shorter, and for one
/// ring in each direction [`spawn_duplex`].
///
/// A name has 1 to 64 ASCII letters, digits, and `_`, `-`, `.`. The child takes an end by
/// [`Options::producer_from_parent_by_name`] or
/// [`Options::consumer_from_parent_by_name`]. An end with the empty name is taken by
/// [`Producer::from_parent`] or [`Consumer::from_parent`]. Two ends may have the same name
/// if their roles differ.
///
/// # Examples
///
/// A program that runs itself as its child:
///
/// ```standalone_crate
/// use std::io::{Read, Write};
/// use std::process::Command;
/// use shmpipe::{Handover, Options};
///
/// fn main() -> std::io::Result<()> {
///     let options = Options::new();
///     if std::env::args().nth(1).as_deref() == Some("child") {
///         let mut request = String::new();
///         let mut requests = options.consumer_from_parent_by_name("requests")?;
///         let mut log = options.producer_from_parent_by_name("log")?;
///         requests.read_to_string(&mut request)?;
///         write!(log, "got {request}")?;
///         return Ok(());
///     }
///     let mut requests = options.create_anonymous()?.into_producer()?;
///     let mut log = options.create_anonymous()?.into_consumer()?;
///     let mut child = Handover::new()
///         .give_consumer("requests", &mut requests)
///         .give_producer("log", &mut log)
///         .spawn(Command::new(std::env::current_exe()?).arg("child"))?;
///     requests.write_all(b"hello")?;
///     requests.close()?;
///     let mut text = String::new();
///     log.read_to_string(&mut text)?;
///     assert_eq!(text, "got hello");
///     assert!(child.wait()?.success());
///     Ok(())
/// }
/// ```
#[derive(Debug, Default)]
#[must_use = "nothing is given before a child is spawned"]
pub struct Handover<'a> {
    ends: Vec<(String, Kept<'a>)>,
}

/// The end that the parent keeps.
#[derive(Debug)]
enum Kept<'a> {
    Producer(&'a mut Producer),
    Consumer(&'a mut Consumer),
}

impl<'a> Handover<'a> {
    /// Makes a handover without ends. For an example, see [`Handover`].
    pub fn new() -> Handover<'a> {
        Handover::default()
    }

    /// Gives the child the consumer's end of the ring that `producer` writes to. For an
    /// example, see [`Handover`].
    pub fn give_consumer(mut self, name: &str, producer: &'a mut Producer) -> Handover<'a> {
        self.ends.push((name.to_owned(), Kept::Producer(producer)));
        self
    }

    /// Gives the child the producer's end of the ring that `consumer` reads from. For an
    /// example, see [`Handover`].
    pub fn give_producer(mut self, name: &str, consumer: &'a mut Consumer) -> Handover<'a> {
        self.ends.push((name.to_owned(), Kept::Consumer(consumer)));
        self
    }

    /// Starts the child. From now on each handle expects the child to take the other
    /// end, as [`Ring::spawn_consumer`] and [`Ring::spawn_producer`] say. If the child's
    /// process ends before that, each handle whose end was not taken reports
    /// [`Broken::NeverCame`](crate::Broken::NeverCame).
    ///
    /// The environment variable `SHMPIPE_RING` is removed from `command` afterwards, even if
    /// the child cannot be started. Without any end, the child gets no such variable.
    ///
    /// # Errors
    ///
    /// [`OpenError::Spawn`] if the child cannot be started. [`OpenError::EndName`] for a name that
    /// an end cannot have, or that was given twice. [`OpenError::RoleTaken`] if a process has the
    /// role that the child is to get. This does not apply to a persistent ring, where that process
    /// may have left before the child comes. [`OpenError::NoSegment`] if a ring lies in [the
    /// caller's memory](Options::create_in). After an error the handles are as they were.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::process::Command;
    /// use shmpipe::{Broken, Handover, OpenError, Options, Role};
    ///
    /// let mut producer = Options::new().create_anonymous()?.into_producer()?;
    /// let mut missing = Command::new("/does/not/exist");
    /// let failed = Handover::new().give_consumer("", &mut producer).spawn(&mut missing);
    /// assert!(matches!(failed, Err(OpenError::Spawn { .. })));
    ///
    /// // The handle can be given again: to a child that knows nothing of its role.
    /// let mut command = Command::new("true");
    /// let mut child = Handover::new().give_consumer("", &mut producer).spawn(&mut command)?;
    /// child.wait()?;
    /// let never_came = Broken::NeverCame { role: Role::Consumer };
    /// assert_eq!(producer.check_peer(), Err(never_came));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn spawn(self, command: &mut Command) -> Result<Child, OpenError> {
        let value = self.variable()?;
        let variable = OsStr::from_bytes(VARIABLE.to_bytes());
        match value.as_str() {
            "" => command.env_remove(variable),
            value => command.env(variable, value),
        };
        let spawned = command.spawn();
        command.env_remove(variable);
        let child = spawned.map_err(|source| OpenError::Spawn {
            program: OsString::from(command.get_program()),
            source,
        })?;
        self.given_to(child.id());
        Ok(child)
    }

    /// Expects the child with this process id to take the other ends, for a child that was not
    /// started by [`spawn`](Self::spawn). Call it before the child can be reaped, so that the id
    /// belongs to no other process. Give no other child these ends.
    ///
    /// # Examples
    ///
    /// See [`variable`](Self::variable).
    pub fn given_to(self, child: u32) {
        for (_, kept) in self.ends {
            match kept {
                Kept::Producer(producer) => producer.expect_child(child),
                Kept::Consumer(consumer) => consumer.expect_child(child),
            }
        }
    }

    /// The value of the environment variable `SHMPIPE_RING` for a child that gets these ends. Use
    /// it for a child that [`spawn`](Self::spawn) does not start: one of another language, or of an
    /// executor.
    ///
    /// # Errors
    ///
    /// The errors of [`spawn`](Self::spawn), without [`OpenError::Spawn`].
    ///
    /// # Examples
    ///
    /// ```
    /// use std::process::Command;
    /// use shmpipe::{Broken, Handover, Options, Role};
    ///
    /// let mut producer = Options::new().create_anonymous()?.into_producer()?;
    /// let handover = Handover::new().give_consumer("", &mut producer);
    /// let value = handover.variable()?;
    /// let mut child = Command::new("true").env("SHMPIPE_RING", value).spawn()?;
    /// handover.given_to(child.id());
    /// child.wait()?; // and has not taken its end
    /// let never_came = Broken::NeverCame { role: Role::Consumer };
    /// assert_eq!(producer.check_peer(), Err(never_came));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn variable(&self) -> Result<String, OpenError> {
        let mut entries: Vec<Entry> = Vec::new();
        for (name, kept) in &self.ends {
            let entry = kept.entry(name)?;
            let is_same = |other: &Entry| (other.role, &other.name) == (entry.role, name);
            if !(name.is_empty() || is_name(name)) || entries.iter().any(is_same) {
                let name = name.clone();
                return Err(OpenError::EndName { name });
            }
            entries.push(entry);
        }
        let entries: Vec<String> = entries.iter().map(Entry::to_string).collect();
        Ok(entries.join(","))
    }
}

impl Kept<'_> {
    /// The entry of the end that the child is to get.
    fn entry(&self, name: &str) -> Result<Entry, OpenError> {
        let (region, role, peer) = match self {
            Kept::Producer(producer) => {
                (producer.writer().region(), Role::Consumer, producer.peer())
            }
            Kept::Consumer(consumer) => {
                (consumer.reader().region(), Role::Producer, consumer.peer())
            }
        };
        let mapping = region.mapping();
        let id = mapping.id().ok_or(OpenError::NoSegment)?;
        let Geometry { kind, nonce, .. } = *mapping.geometry();
        // The role of a persistent ring may be free by the time that the child takes it.
        if let Occupant::Process(pid) = peer
            && !kind.persists()
        {
            let at = Place::segment(id).with_role(role);
            return Err(OpenError::RoleTaken { at, role, pid });
        }
        let name = name.to_owned();
        Ok(Entry {
            id,
            nonce,
            role,
            name,
        })
    }
}

impl Ring {
    /// Takes the producer's role, and starts a child that is to take the consumer's
    /// role.
    ///
    /// The child takes its end with [`Consumer::from_parent`], or is `shmpipe recv
    /// --from-parent`. The environment variable `SHMPIPE_RING` tells the child
    /// which ring. The variable is removed from `command` afterwards. For both
    /// directions, see [`spawn_duplex`]. For several rings, see [`Handover`].
    ///
    /// This call does not wait until the child has taken its end. If the child's
    /// process ends before that, waiting calls fail with
    /// [`Broken::NeverCame`](crate::Broken). [`Producer::close`] and a drop wait
    /// until the child has taken its end, because until then only this process
    /// keeps the segment alive. The producer's time limit holds for these waits.
    /// Without a limit, they last as long as the child lives.
    /// [`Producer::close_deadline`] waits until its deadline and counts the lost
    /// bytes. [`Producer::abort`] does not wait. So give the child all that it
    /// needs, such as its stdin, before dropping the producer.
    ///
    /// A child may leave its end to a process that it starts, as a shell does. The
    /// child must then run until that process has taken the end. A child that takes its
    /// end itself does not pass the variable on.
    ///
    /// # Errors
    ///
    /// [`OpenError::Spawn`] if the child cannot be started; the ring is gone in
    /// this case. [`OpenError::NoSegment`] if the ring lies in [the caller's
    /// memory](Options::create_in). Otherwise the errors of
    /// [`into_producer`](Ring::into_producer), such as [`OpenError::RoleTaken`].
    ///
    /// # Examples
    ///
    /// A program that runs itself as its child:
    ///
    /// ```standalone_crate
    /// use std::io::{Read, Write};
    /// use std::process::Command;
    /// use shmpipe::{Consumer, Options};
    ///
    /// fn main() -> std::io::Result<()> {
    ///     if std::env::args().nth(1).as_deref() == Some("child") {
    ///         let mut text = String::new();
    ///         Consumer::from_parent()?.read_to_string(&mut text)?;
    ///         assert_eq!(text, "hello");
    ///         return Ok(());
    ///     }
    ///     let mut command = Command::new(std::env::current_exe()?);
    ///     let ring = Options::new().create_anonymous()?;
    ///     let (mut producer, mut child) = ring.spawn_consumer(command.arg("child"))?;
    ///     producer.write_all(b"hello")?;
    ///     producer.close()?;
    ///     assert!(child.wait()?.success());
    ///     Ok(())
    /// }
    /// ```
    pub fn spawn_consumer(self, command: &mut Command) -> Result<(Producer, Child), OpenError> {
        self.has_segment()?;
        let mut producer = self.into_producer()?;
        let handover = Handover::new().give_consumer("", &mut producer);
        match handover.spawn(command) {
            Ok(child) => Ok((producer, child)),
            Err(error) => {
                producer.withdraw(); // leaves the role without marking an end of stream
                Err(error)
            }
        }
    }

    /// Takes the consumer's role, and starts a child that is to take the producer's
    /// role.
    ///
    /// The child takes its end with [`Producer::from_parent`], or is `shmpipe send
    /// --from-parent`. If the child ends before that, a read fails with
    /// [`Broken::NeverCame`](crate::Broken). Unlike the producer of
    /// [`spawn_consumer`](Ring::spawn_consumer), a dropped consumer does not wait:
    /// a child that comes later finds the ring [removed](OpenError::Removed).
    ///
    /// # Errors
    ///
    /// The errors of [`spawn_consumer`](Ring::spawn_consumer), where
    /// [`OpenError::RoleTaken`] is about the consumer's role.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::Read;
    /// use std::process::Command;
    ///
    /// // A child that knows nothing of its role.
    /// let ring = shmpipe::Options::new().create_anonymous()?;
    /// let (mut consumer, mut child) = ring.spawn_producer(&mut Command::new("true"))?;
    /// let error = consumer.read(&mut [0]).unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
    /// child.wait()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn spawn_producer(self, command: &mut Command) -> Result<(Consumer, Child), OpenError> {
        self.has_segment()?;
        let mut consumer = self.into_consumer()?;
        let handover = Handover::new().give_producer("", &mut consumer);
        let child = handover.spawn(command)?;
        Ok((consumer, child))
    }

    /// Fails, before a role is taken, if a child could not attach the ring.
    fn has_segment(&self) -> Result<(), OpenError> {
        self.id_for_log().map(drop).ok_or(OpenError::NoSegment)
    }
}

impl Options {
    /// Makes two anonymous rings with these options, and starts a child that gets the other
    /// end of each: a stream in each direction. The child takes its ends with
    /// [`duplex_from_parent`](Options::duplex_from_parent). [`spawn_duplex`] does this with
    /// the default options.
    ///
    /// The ends behave like those of [`Ring::spawn_consumer`] and [`Ring::spawn_producer`]. Each
    /// handle notices a child that exits before it takes its ends. The command-line tool can take
    /// an end, too: with the command `sh -c "shmpipe recv --from-parent | filter | shmpipe send
    /// --from-parent"`, the child is a filter.
    ///
    /// Like pipes, both rings can be full. If the parent writes everything before it reads, and the
    /// child answers meanwhile, both then wait for ever. Write and read in two threads, or make the
    /// rings as large as the longest answer.
    ///
    /// # Errors
    ///
    /// [`OpenError::Spawn`] if the child cannot be started. Otherwise the errors of
    /// [`create_anonymous`](Options::create_anonymous).
    ///
    /// # Examples
    ///
    /// A program that runs itself as its child:
    ///
    /// ```standalone_crate
    /// use std::io::{Read, Write};
    /// use std::process::Command;
    /// use shmpipe::Options;
    ///
    /// fn main() -> std::io::Result<()> {
    ///     if std::env::args().nth(1).as_deref() == Some("child") {
    ///         let (mut producer, mut consumer) = shmpipe::duplex_from_parent()?;
    ///         let mut number = [0];
    ///         while consumer.read(&mut number)? > 0 {
    ///             producer.write_all(&[number[0] + 1])?;
    ///         }
    ///         return Ok(());
    ///     }
    ///     let mut command = Command::new(std::env::current_exe()?);
    ///     let (mut producer, mut consumer, mut child) =
    ///         Options::new().capacity(1 << 16).spawn_duplex(command.arg("child"))?;
    ///     let mut answer = [0];
    ///     for number in 1..=3 {
    ///         producer.write_all(&[number])?;
    ///         consumer.read_exact(&mut answer)?;
    ///         assert_eq!(answer, [number + 1]);
    ///     }
    ///     producer.close()?; // the child reads the end
    ///     assert_eq!(consumer.read(&mut answer)?, 0);
    ///     assert!(child.wait()?.success());
    ///     Ok(())
    /// }
    /// ```
    pub fn spawn_duplex(
        &self,
        command: &mut Command,
    ) -> Result<(Producer, Consumer, Child), OpenError> {
        let mut producer = self.create_anonymous()?.into_producer()?;
        let mut consumer = self.create_anonymous()?.into_consumer()?;
        let child = Handover::new()
            .give_consumer("", &mut producer)
            .give_producer("", &mut consumer)
            .spawn(command)?;
        Ok((producer, consumer, child))
    }
}

/// Starts a child with a ring in each direction, with the default [`Options`]. Returns
/// the parent's ends. See [`Options::spawn_duplex`].
///
/// # Errors
///
/// The errors of [`Options::spawn_duplex`].
///
/// # Examples
///
/// ```
/// use std::io::{Read, Write};
/// use std::process::Command;
///
/// // A child that knows nothing of its ends.
/// let (mut producer, mut consumer, mut child) = shmpipe::spawn_duplex(&mut Command::new("true"))?;
/// child.wait()?;
/// let broken = std::io::ErrorKind::BrokenPipe;
/// assert_eq!(consumer.read(&mut [0]).unwrap_err().kind(), broken);
/// assert_eq!(producer.check_peer().unwrap_err().kind(), broken);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn spawn_duplex(command: &mut Command) -> Result<(Producer, Consumer, Child), OpenError> {
    Options::new().spawn_duplex(command)
}
