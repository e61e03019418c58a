//! The two ends of a ring.

/// Which end of the ring a process holds.
///
/// # Examples
///
/// ```
/// use shmpipe::Role;
///
/// assert_eq!(Role::Producer.to_string(), "producer");
/// assert_eq!("consumer".parse(), Ok(Role::Consumer));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The end that writes.
    Producer,
    /// The end that reads.
    Consumer,
}

impl Role {
    /// The other end.
    ///
    /// # Examples
    ///
    /// ```
    /// use shmpipe::Role;
    ///
    /// assert_eq!(Role::Producer.peer(), Role::Consumer);
    /// ```
    #[must_use]
    pub fn peer(self) -> Role {
        match self {
            Role::Producer => Role::Consumer,
            Role::Consumer => Role::Producer,
        }
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Role::Producer => "producer",
            Role::Consumer => "consumer",
        })
    }
}

impl std::str::FromStr for Role {
    type Err = InvalidRole;

    fn from_str(text: &str) -> Result<Role, InvalidRole> {
        match text {
            "producer" => Ok(Role::Producer),
            "consumer" => Ok(Role::Consumer),
            _ => Err(InvalidRole),
        }
    }
}

/// The error of parsing a [`Role`]: the text is neither `producer` nor `consumer`.
///
/// # Examples
///
/// ```
/// use shmpipe::Role;
/// use shmpipe::error::InvalidRole;
///
/// assert_eq!("Producer".parse::<Role>(), Err(InvalidRole));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidRole;

impl std::fmt::Display for InvalidRole {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a role is `producer` or `consumer`")
    }
}

impl std::error::Error for InvalidRole {}

impl From<InvalidRole> for std::io::Error {
    fn from(error: InvalidRole) -> std::io::Error {
        std::io::Error::new(std::io::ErrorKind::InvalidInput, error)
    }
}
