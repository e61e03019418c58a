//! What a contender has to offer: two ends of a way for bytes.

use std::io;

/// How a contender is to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) enum Wait {
    /// As it does when nothing is chosen.
    Default,
    /// For the lowest latency.
    Spin,
    /// Asleep at once.
    Park,
}

/// What a channel is made for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spec {
    /// Bytes that it can hold, where that can be chosen.
    pub(crate) capacity: usize,
    /// Bytes of the largest block.
    #[cfg_attr(not(feature = "messages"), allow(dead_code))]
    pub(crate) block: usize,
    pub(crate) wait: Wait,
}

/// A channel that is made before the processes part, or the threads start.
/// What it leaves in the system goes when the process that made it drops it.
pub(crate) trait Channel: Sized {
    type Sender: Sender;
    type Receiver: Receiver;

    fn open(spec: &Spec) -> io::Result<Self>;
    /// Called in the process that sends.
    fn sender(self) -> io::Result<Self::Sender>;
    /// Called in the process that receives.
    fn receiver(self) -> io::Result<Self::Receiver>;
}

/// A channel between threads of one process.
pub(crate) trait Threads: Channel<Sender: Send, Receiver: Send> {
    fn split(self) -> (Self::Sender, Self::Receiver);
}

pub(crate) trait Sender {
    /// Sends one block. The receiver can have all of it without a further
    /// call of this side.
    fn send(&mut self, block: &[u8]);

    /// System calls so far, where they are counted.
    fn calls(&self) -> Option<u64> {
        None
    }
}

pub(crate) trait Receiver {
    /// Receives into all of `block`: of a channel of messages, the next one.
    fn receive(&mut self, block: &mut [u8]);

    fn calls(&self) -> Option<u64> {
        None
    }
}

/// Looks again until `ready` gives something: the wait of contenders that
/// have none.
#[cfg_attr(not(feature = "rings"), allow(dead_code))]
#[inline(always)]
pub(crate) fn spin<T>(mut ready: impl FnMut() -> Option<T>) -> T {
    loop {
        if let Some(value) = ready() {
            return value;
        }
        std::hint::spin_loop();
    }
}

/// An error of any kind as one of input and output.
#[cfg_attr(not(feature = "rings"), allow(dead_code))]
pub(crate) fn other(error: impl std::fmt::Debug) -> io::Error {
    io::Error::other(format!("{error:?}"))
}
