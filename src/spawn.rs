//! Handing one end of a ring to a child process, and taking it there.
//!
//! exec gives up every attachment, so the child is told which ring it is, and
//! attaches it again: `SHMPIPE_RING` holds `id:nonce:role`, the id of the
//! segment, the number that tells its ring from one that came to have the
//! same id, in 16 hexadecimal digits, and the role of the child.
//!
//! 1. The parent has its role before there is a child, so a spawn that fails
//!    leaves nothing but a handle to drop.
//! 2. The parent has a pidfd of the child before anybody can have reaped it.
//!    That proves the end of a child that never took its role.
//! 3. Until the child has attached the segment the parent's attachment is the
//!    only one, so a producer does not give that up by finishing: it waits for
//!    the child ([`Endpoint::await_child`](crate::handle::endpoint::Endpoint)).

use std::ffi::{CStr, OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::process::{Child, Command};

use crate::error::OpenError;
use crate::handle::consumer::Consumer;
use crate::handle::producer::Producer;
use crate::handle::ring::Ring;
use crate::options::Options;
use crate::role::Role;
use crate::sys::environment;
use crate::sys::sysv::SegmentId;

/// The environment variable that says which ring a child is to attach.
const VARIABLE: &CStr = c"SHMPIPE_RING";

/// What the variable says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Handover {
    id: SegmentId,
    nonce: u64,
    /// The role of the child.
    role: Role,
}

impl fmt::Display for Handover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{:016x}:{}", self.id, self.nonce, self.role)
    }
}

impl Handover {
    /// What the parent of this process has said.
    fn from_environment() -> Result<Handover, OpenError> {
        match environment::variable(VARIABLE) {
            None => Err(OpenError::NotHandedOver),
            Some(value) => match value.to_str().and_then(Handover::parse) {
                Some(handover) => Ok(handover),
                None => Err(OpenError::BadHandover { value }),
            },
        }
    }

    fn parse(value: &str) -> Option<Handover> {
        let mut parts = value.split(':');
        let (id, nonce, role) = (parts.next()?, parts.next()?, parts.next()?);
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_hexdigit());
        if parts.next().is_some() || nonce.len() != 16 || !digits(nonce) || !digits(id) {
            return None;
        }
        Some(Handover {
            id: id.parse().ok()?,
            nonce: u64::from_str_radix(nonce, 16).ok()?,
            role: role.parse().ok()?,
        })
    }

    /// Attaches the ring, if it is the one that is meant.
    fn attach(&self, asked: Role, options: &Options) -> Result<Ring, OpenError> {
        if self.role != asked {
            let given = self.role;
            return Err(OpenError::WrongRole { given, asked });
        }
        let ring = options.attach(self.id)?;
        if ring.nonce() != self.nonce {
            return Err(OpenError::removed(self.id));
        }
        Ok(ring)
    }
}

impl Ring {
    /// Becomes the producer, and starts a child that is to become the consumer.
    ///
    /// The child takes its end with [`Consumer::from_parent`]; `shmpipe recv
    /// --from-parent` does. Which ring it is stands in the environment variable
    /// `SHMPIPE_RING`, which is taken off `command` again once the child runs.
    ///
    /// This does not wait for the child to take its end. Until it has, waiting
    /// for it ends with [`Broken::NeverCame`](crate::Broken) once the child's
    /// process has ended, and [`Producer::close`] and an ordinary drop wait for
    /// it: without this process attached, the bytes would be gone. These two
    /// are subject to the producer's time limit as well; without one, a child
    /// that lives and never takes its end is waited for as long as it lives.
    /// [`Producer::close_deadline`] waits no longer than told and counts what is
    /// lost, [`Producer::abort`] waits for nothing. So what a child needs before it takes its end, such
    /// as its stdin, has to be given to it before the producer is dropped.
    ///
    /// A child may leave its end to a process that it starts, as a shell does,
    /// but has to run until that has taken it.
    ///
    /// # Errors
    ///
    /// [`OpenError::Spawn`] when the child cannot be started; the ring is gone
    /// then. [`OpenError::RoleTaken`] when somebody is the producer already.
    /// [`OpenError::NoSegment`] when the ring lies in [memory of the
    /// caller's](Options::create_in).
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
        let handover = self.handover(Role::Consumer)?;
        let mut producer = self.into_producer()?;
        let child = handover.spawn(command)?;
        producer.expect_child(child.id());
        Ok((producer, child))
    }

    /// Becomes the consumer, and starts a child that is to become the producer:
    /// [`spawn_consumer`](Ring::spawn_consumer) the other way round.
    ///
    /// The child takes its end with [`Producer::from_parent`]; `shmpipe send
    /// --from-parent` does. A child that ends before it has is noticed by a read,
    /// as [`Broken::NeverCame`](crate::Broken). Dropping the consumer waits for
    /// nothing: a child that comes later finds the ring
    /// [removed](OpenError::Removed).
    ///
    /// # Errors
    ///
    /// As [`spawn_consumer`](Ring::spawn_consumer).
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
        let handover = self.handover(Role::Producer)?;
        let mut consumer = self.into_consumer()?;
        let child = handover.spawn(command)?;
        consumer.expect_child(child.id());
        Ok((consumer, child))
    }

    fn handover(&self, role: Role) -> Result<Handover, OpenError> {
        Ok(Handover {
            id: self.id().ok_or(OpenError::NoSegment)?,
            nonce: self.nonce(),
            role,
        })
    }
}

impl Handover {
    fn spawn(&self, command: &mut Command) -> Result<Child, OpenError> {
        let variable = OsStr::from_bytes(VARIABLE.to_bytes());
        let spawned = command.env(variable, self.to_string()).spawn();
        command.env_remove(variable);
        spawned.map_err(|source| OpenError::Spawn {
            program: OsString::from(command.get_program()),
            source,
        })
    }
}

impl Options {
    /// Takes the writing end of the ring that the parent of this process has
    /// handed to it, by [`Ring::spawn_producer`].
    ///
    /// Mode and owner say what ring is trusted, as with
    /// [`attach`](Options::attach). The end can be taken once. The environment
    /// variable stays: a process started from here without taking it off
    /// inherits it, and is refused the role. It is read by `getenv(3)`, without
    /// the lock of [`std::env`](mod@std::env): no other thread may change the environment
    /// meanwhile.
    ///
    /// # Errors
    ///
    /// [`OpenError::NotHandedOver`] when the environment says nothing of a ring,
    /// [`OpenError::BadHandover`] when it says what no parent of ours says, and
    /// [`OpenError::WrongRole`] when this process is to be the consumer.
    /// [`OpenError::Removed`] when the parent has left the ring, also where
    /// another one has come to have its id. [`OpenError::RoleTaken`] when
    /// somebody has the role, or had it. Else as [`attach`](Options::attach).
    ///
    /// # Examples
    ///
    /// ```
    /// use shmpipe::{OpenError, Options};
    ///
    /// let taken = Options::new().producer_from_parent();
    /// assert!(matches!(taken, Err(OpenError::NotHandedOver))); // the parent is no shmpipe
    /// ```
    pub fn producer_from_parent(&self) -> Result<Producer, OpenError> {
        Handover::from_environment()?
            .attach(Role::Producer, self)?
            .into_producer()
    }

    /// Takes the reading end of the ring that the parent of this process has
    /// handed to it, by [`Ring::spawn_consumer`].
    ///
    /// # Errors
    ///
    /// As [`producer_from_parent`](Options::producer_from_parent), the other
    /// way round.
    ///
    /// # Examples
    ///
    /// ```
    /// use shmpipe::{OpenError, Options};
    ///
    /// let taken = Options::new().consumer_from_parent();
    /// assert!(matches!(taken, Err(OpenError::NotHandedOver))); // the parent is no shmpipe
    /// ```
    pub fn consumer_from_parent(&self) -> Result<Consumer, OpenError> {
        Handover::from_environment()?
            .attach(Role::Consumer, self)?
            .into_consumer()
    }
}

impl Producer {
    /// Takes the writing end of the ring that the parent of this process has
    /// handed to it, by [`Ring::spawn_producer`], with the default [`Options`].
    ///
    /// # Errors
    ///
    /// As [`Options::producer_from_parent`].
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use std::io::Write;
    ///
    /// let mut producer = shmpipe::Producer::from_parent()?;
    /// producer.write_all(b"hello, parent")?;
    /// producer.close()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn from_parent() -> Result<Producer, OpenError> {
        Options::new().producer_from_parent()
    }
}

impl Consumer {
    /// Takes the reading end of the ring that the parent of this process has
    /// handed to it, by [`Ring::spawn_consumer`], with the default [`Options`].
    ///
    /// # Errors
    ///
    /// As [`Options::consumer_from_parent`].
    ///
    /// # Examples
    ///
    /// ```no_run
    /// let mut consumer = shmpipe::Consumer::from_parent()?;
    /// std::io::copy(&mut consumer, &mut std::io::stdout())?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn from_parent() -> Result<Consumer, OpenError> {
        Options::new().consumer_from_parent()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_understood() {
        for (id, role) in [("0", Role::Producer), ("2147483647", Role::Consumer)] {
            let handover = Handover {
                id: id.parse().unwrap(),
                nonce: 0xab,
                role,
            };
            let value = handover.to_string();
            assert_eq!(value, format!("{id}:00000000000000ab:{role}"));
            assert_eq!(Handover::parse(&value), Some(handover));
        }
    }

    #[test]
    fn nothing_else_is() {
        for value in [
            "",
            ":",
            "::",
            "1",
            "1:00000000000000ab",
            "1:00000000000000ab:",
            "1:00000000000000ab:Producer",
            "1:00000000000000ab:producer:",
            "1:00000000000000ab:producer ",
            ":00000000000000ab:producer",
            "-1:00000000000000ab:producer",
            "+1:00000000000000ab:producer",
            "a:00000000000000ab:producer",
            "2147483648:00000000000000ab:producer",
            "1:ab:producer",
            "1:+0000000000000ab:producer",
            "1:00000000000000000ab:producer",
            "1:\u{e4}0000000000000a:producer",
        ] {
            assert_eq!(Handover::parse(value), None, "{value}");
        }
    }
}
