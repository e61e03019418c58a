//! Taking, in a child process, the ends that the parent gave to it.

use super::variable::{Entry, Given, strike};
use crate::error::OpenError;
use crate::handle::consumer::Consumer;
use crate::handle::producer::Producer;
use crate::handle::ring::Ring;
use crate::options::Options;
use crate::role::Role;

impl Options {
    /// Takes the writing end of the ring that the parent gave to this process, by
    /// [`Ring::spawn_producer`].
    ///
    /// The options' mode and owner decide which ring is trusted, as in
    /// [`attach`](Options::attach). The end can be taken once, and is then struck out of
    /// the environment variable `SHMPIPE_RING`. Once the last end is taken, the variable
    /// is gone, so that no child of this process inherits it.
    ///
    /// The variable is read by `getenv(3)`, without the lock of
    /// [`std::env`](mod@std::env). No other thread may change the environment
    /// meanwhile. Other threads may read it.
    ///
    /// # Errors
    ///
    /// [`OpenError::NotHandedOver`] if the environment variable is not set, or has no end
    /// that this process has not taken.
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
        self.producer_of_entry("")
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
        self.consumer_of_entry("")
    }

    /// Takes the writing end that the parent gave to this process under this name, by
    /// [`Handover::give_producer`](crate::Handover::give_producer). The rest is as in
    /// [`producer_from_parent`](Options::producer_from_parent).
    ///
    /// # Errors
    ///
    /// [`OpenError::NoSuchEnd`] if the parent gave no end of this name, or this process
    /// has taken it. Otherwise the errors of
    /// [`producer_from_parent`](Options::producer_from_parent).
    ///
    /// # Examples
    ///
    /// See [`Handover`](crate::Handover).
    pub fn producer_from_parent_by_name(&self, name: &str) -> Result<Producer, OpenError> {
        self.producer_of_entry(name)
    }

    /// Takes the reading end that the parent gave to this process under this name, by
    /// [`Handover::give_consumer`](crate::Handover::give_consumer). The rest is as in
    /// [`producer_from_parent`](Options::producer_from_parent).
    ///
    /// # Errors
    ///
    /// The errors of
    /// [`producer_from_parent_by_name`](Options::producer_from_parent_by_name).
    ///
    /// # Examples
    ///
    /// See [`Handover`](crate::Handover).
    pub fn consumer_from_parent_by_name(&self, name: &str) -> Result<Consumer, OpenError> {
        self.consumer_of_entry(name)
    }

    /// Takes both ends that the parent gave to this process, by
    /// [`spawn_duplex`](Options::spawn_duplex). The rest is as in
    /// [`producer_from_parent`](Options::producer_from_parent).
    ///
    /// # Errors
    ///
    /// The errors of [`producer_from_parent`](Options::producer_from_parent). After an
    /// error that precedes the first claim, both ends can still be taken.
    ///
    /// # Examples
    ///
    /// See [`spawn_duplex`](Options::spawn_duplex).
    pub fn duplex_from_parent(&self) -> Result<(Producer, Consumer), OpenError> {
        let given = Given::from_environment()?;
        let (to_write, writing) = given.find(Role::Producer, "")?;
        let (to_read, reading) = given.find(Role::Consumer, "")?;
        let (producing, consuming) = (writing.attach(self)?, reading.attach(self)?);
        // Neither role is taken if one of them cannot be.
        producing.check_free(Role::Producer)?;
        consuming.check_free(Role::Consumer)?;
        let mut producer = producing.into_producer()?;
        match consuming.into_consumer() {
            Ok(consumer) => {
                strike(*to_write);
                strike(*to_read);
                Ok((producer, consumer))
            }
            Err(error) => {
                producer.abort(); // the parent is not to take this for a finished stream
                Err(error)
            }
        }
    }

    fn producer_of_entry(&self, name: &str) -> Result<Producer, OpenError> {
        let given = Given::from_environment()?;
        let (offset, entry) = given.find(Role::Producer, name)?;
        let producer = entry.attach(self)?.into_producer()?;
        strike(*offset);
        Ok(producer)
    }

    fn consumer_of_entry(&self, name: &str) -> Result<Consumer, OpenError> {
        let given = Given::from_environment()?;
        let (offset, entry) = given.find(Role::Consumer, name)?;
        let consumer = entry.attach(self)?.into_consumer()?;
        strike(*offset);
        Ok(consumer)
    }
}

impl Entry {
    /// Attaches the ring, and checks that its nonce is the right one.
    fn attach(&self, options: &Options) -> Result<Ring, OpenError> {
        let ring = options.attach(self.id)?;
        if ring.nonce() != self.nonce {
            return Err(OpenError::removed(self.id));
        }
        Ok(ring)
    }
}

/// Takes both ends that the parent gave to this process by [`spawn_duplex`], with the
/// default [`Options`]. See [`Options::duplex_from_parent`].
///
/// [`spawn_duplex`]: crate::spawn_duplex
///
/// # Errors
///
/// The errors of [`Options::duplex_from_parent`].
///
/// # Examples
///
/// ```
/// use shmpipe::OpenError;
///
/// let taken = shmpipe::duplex_from_parent();
/// assert!(matches!(taken, Err(OpenError::NotHandedOver))); // no parent has given rings
/// ```
pub fn duplex_from_parent() -> Result<(Producer, Consumer), OpenError> {
    Options::new().duplex_from_parent()
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
