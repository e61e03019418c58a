//! How a blocking call waits, and what that has cost.

use std::time::Duration;

/// How a blocking call waits for the peer.
///
/// Whatever the policy, a peer that dies and a cancel flag are noticed within
/// about ten milliseconds.
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
    /// Looks again and again and never sleeps: the lowest latency, for a
    /// processor. Where both sides may use one processor only, the same one,
    /// this is slow.
    Spin,
    /// Looks again and again for so long, at most ten milliseconds, then
    /// sleeps; sleeps at once where both sides may use one processor only.
    SpinThenPark(Duration),
    /// The same for about the cost of a wake, 30 microseconds; while waits end
    /// soon after that time, again and again, for 100 microseconds. One wait
    /// that takes longer ends this.
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

/// What waiting and waking have cost.
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
/// assert!(consumer.stats().sleeps > 0);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// How often this side went to sleep: one system call each. Of an async
    /// handle, how often a call was pending.
    pub sleeps: u64,
    /// How often this side woke its peer: one system call each.
    pub wakes: u64,
}
