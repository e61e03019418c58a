//! The two ends of a ring.

/// Which end of the ring a process holds.
///
/// # Examples
///
/// ```
/// use shmpipe::Role;
///
/// assert_eq!(Role::Producer.to_string(), "producer");
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
