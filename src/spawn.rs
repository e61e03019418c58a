//! Giving one end of a ring to a child process, and taking that end in the child.
//!
//! exec(2) ends every attachment, so the child attaches the ring again. The
//! environment variable `SHMPIPE_RING` tells the child which ring, as
//! `id:nonce:role`. These are the segment's id, the ring's nonce in 16 hexadecimal
//! digits, and the child's role. The nonce tells the ring from a later one with the
//! same id.
//!
//! 1. The parent takes its role before the child starts. If starting fails, the parent
//!    only gives its role up again.
//! 2. The parent opens a pidfd of the child before the child can be reaped. The
//!    pidfd proves the end of a child that never took its role.
//! 3. Until the child has attached the segment, the parent has the only attachment.
//!    A producer that finishes therefore waits for the child
//!    ([`Endpoint::await_child`](crate::handle::endpoint::Endpoint)).

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

/// The environment variable that tells a child which ring to attach.
const VARIABLE: &CStr = c"SHMPIPE_RING";

/// The content of the environment variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Handover {
    id: SegmentId,
    nonce: u64,
    /// The child's role.
    role: Role,
}

impl fmt::Display for Handover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{:016x}:{}", self.id, self.nonce, self.role)
    }
}

impl Handover {
    /// Reads what the parent of this process has set.
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

    /// Attaches the ring, and checks that its nonce is the right one.
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
    /// Takes the producer's role, and starts a child that is to take the consumer's
    /// role.
    ///
    /// The child takes its end with [`Consumer::from_parent`], or is `shmpipe recv
    /// --from-parent`. The environment variable `SHMPIPE_RING` tells the child
    /// which ring. The variable is removed from `command` once the child runs.
    ///
    /// This call does not wait until the child has taken its end. If the child's
    /// process ends before that, waiting calls fail with
    /// [`Broken::NeverCame`](crate::Broken). [`Producer::close`] and a drop wait
    /// until the child has taken its end, since without this process attached the
    /// bytes would be lost. The producer's time limit holds for these waits.
    /// Without a limit, they last as long as the child lives.
    /// [`Producer::close_deadline`] waits until its deadline and counts the lost
    /// bytes. [`Producer::abort`] does not wait. So give the child all that it
    /// needs, such as its stdin, before dropping the producer.
    ///
    /// A child may leave its end to a process that it starts, as a shell does. The
    /// child must then run until that process has taken the end.
    ///
    /// # Errors
    ///
    /// [`OpenError::Spawn`] if the child cannot be started; the ring is gone in
    /// this case. [`OpenError::NoSegment`] if the ring lies in [memory of the
    /// caller's](Options::create_in). Otherwise the errors of
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
        let handover = self.handover(Role::Consumer)?;
        let mut producer = self.into_producer()?;
        match handover.spawn(command) {
            Ok(child) => {
                producer.expect_child(child.id());
                Ok((producer, child))
            }
            Err(error) => {
                producer.withdraw(); // leaves no end of a stream that nobody wrote
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
    /// Takes the writing end of the ring that the parent gave to this process, by
    /// [`Ring::spawn_producer`].
    ///
    /// The options' mode and owner decide which ring is trusted, as in
    /// [`attach`](Options::attach). The end can be taken once. The environment
    /// variable stays set: a child of this process inherits the variable, and is
    /// refused the role. The variable is read by `getenv(3)`, without the lock of
    /// [`std::env`](mod@std::env). No other thread may change the environment
    /// meanwhile.
    ///
    /// # Errors
    ///
    /// [`OpenError::NotHandedOver`] if the environment variable is not set.
    /// [`OpenError::BadHandover`] if its value cannot be parsed.
    /// [`OpenError::WrongRole`] if this process is to be the consumer.
    /// [`OpenError::Removed`] if the parent has left the ring, even if another ring
    /// now has its id. [`OpenError::RoleTaken`] if another process has or had the
    /// role. Otherwise the errors of [`attach`](Options::attach).
    ///
    /// # Examples
    ///
    /// ```
    /// use shmpipe::{OpenError, Options};
    ///
    /// let taken = Options::new().producer_from_parent();
    /// assert!(matches!(taken, Err(OpenError::NotHandedOver))); // no parent has given a ring
    /// ```
    pub fn producer_from_parent(&self) -> Result<Producer, OpenError> {
        Handover::from_environment()?
            .attach(Role::Producer, self)?
            .into_producer()
    }

    /// Takes the reading end of the ring that the parent gave to this process, by
    /// [`Ring::spawn_consumer`].
    /// [`producer_from_parent`](Options::producer_from_parent) says which ring is
    /// trusted, and how the environment is read.
    ///
    /// # Errors
    ///
    /// The errors of [`producer_from_parent`](Options::producer_from_parent), where
    /// [`OpenError::WrongRole`] means that this process is to be the producer.
    ///
    /// # Examples
    ///
    /// ```
    /// use shmpipe::{OpenError, Options};
    ///
    /// let taken = Options::new().consumer_from_parent();
    /// assert!(matches!(taken, Err(OpenError::NotHandedOver))); // no parent has given a ring
    /// ```
    pub fn consumer_from_parent(&self) -> Result<Consumer, OpenError> {
        Handover::from_environment()?
            .attach(Role::Consumer, self)?
            .into_consumer()
    }
}

impl Producer {
    /// Takes the writing end of the ring that the parent gave to this process, with
    /// the default [`Options`]. See [`Options::producer_from_parent`].
    ///
    /// # Errors
    ///
    /// The errors of [`Options::producer_from_parent`].
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
    /// Takes the reading end of the ring that the parent gave to this process, with
    /// the default [`Options`]. See [`Options::consumer_from_parent`].
    ///
    /// # Errors
    ///
    /// The errors of [`Options::consumer_from_parent`].
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
    fn parses_what_it_displays() {
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
    fn refuses_other_values() {
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
