//! How a blocking call waits, and what waiting has cost.

use std::time::Duration;

/// How a blocking call waits for the peer.
///
/// Under every policy, a dead peer and a cancel flag are noticed within about ten milliseconds. A
/// reader of an empty ring that has got nothing for a second notices them within 110 milliseconds.
///
/// # Examples
///
/// ```
/// use shmpipe::WaitPolicy;
///
/// let (mut producer, _consumer) = shmpipe::pair()?;
/// assert_eq!(producer.wait_policy(), WaitPolicy::default());
/// producer.set_wait_policy(WaitPolicy::Park);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WaitPolicy {
    /// Spins and never sleeps: the lowest latency, at the cost of a processor. Slow where both
    /// sides are confined to the same single processor.
    Spin,
    /// Spins for this long, at most ten milliseconds, then sleeps. Sleeps at once where both sides
    /// are confined to the same single processor.
    SpinThenPark(Duration),
    /// Spins for about the cost of a wake, 30 microseconds, then sleeps. While several sleeps in a
    /// row end soon, spins for 100 microseconds instead, until one wait takes longer. While spins
    /// do not pay, as on a busy machine, sleeps at once, and tries a spin again from time to time.
    /// Sleeps at once where both sides are confined to the same single processor.
    #[default]
    Adaptive,
    /// Sleeps at once: the least processor time.
    Park,
}

/// How long a wait spins before it sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SpinBudget {
    None,
    For(Duration),
    Always,
}

/// What waiting and waking have cost. The positions say how many bytes have moved:
/// [`Producer::position`](crate::Producer::position),
/// [`Consumer::position`](crate::Consumer::position) and, from outside,
/// [`Snapshot::written`](crate::Snapshot::written).
///
/// Only calls that had to wait are counted. A count of all calls would lengthen the shortest path by
/// an instruction or more, and a caller can count its own calls. Of the calls that did not wait, only
/// some look at the peer's position. Their number would say how far the two sides have run apart.
///
/// # Examples
///
/// ```
/// use std::io::Read;
/// use std::time::Duration;
///
/// let (_producer, mut consumer) = shmpipe::pair()?;
/// consumer.set_timeout(Some(Duration::from_millis(1)));
/// consumer.set_wait_policy(shmpipe::WaitPolicy::Park);
/// assert!(consumer.read(&mut [0]).is_err()); // timed out
/// assert_eq!(consumer.stats().waits, 1);
/// assert!(consumer.stats().sleeps > 0);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// How many calls had to wait: there was no byte, or no room. Calls that found bytes or room at
    /// once are not counted, so that counting costs them nothing. For an async handle, how often a
    /// call returned pending.
    pub waits: u64,
    /// How often this side went to sleep, at one system call each. For an async handle, how often a
    /// call returned pending.
    pub sleeps: u64,
    /// How often this side woke its peer, at one system call each.
    pub wakes: u64,
}
