//! What a contender must implement: the two ends of a channel of bytes.

use std::io;

/// How a contender must wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) enum Wait {
    /// By default.
    Default,
    /// For the lowest latency.
    Spin,
    /// By sleeping at once.
    Park,
}

/// What a channel must be able to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spec {
    /// Capacity in bytes, of channels that have a choice.
    pub(crate) capacity: usize,
    /// Bytes of the largest block.
    #[cfg_attr(not(feature = "messages"), allow(dead_code))]
    pub(crate) block: usize,
    pub(crate) wait: Wait,
    /// How many channels, for contenders that are several.
    pub(crate) channels: usize,
}

/// A channel, made before the fork, or before the threads start. What it leaves in the
/// system is removed when the process that made it drops it.
pub(crate) trait Channel: Sized {
    type Sender;
    type Receiver;

    fn open(spec: &Spec) -> io::Result<Self>;
    /// Makes the sending end, in the process that sends.
    fn sender(self) -> io::Result<Self::Sender>;
    /// Makes the receiving end, in the process that receives.
    fn receiver(self) -> io::Result<Self::Receiver>;
}

/// A channel between threads of one process.
pub(crate) trait Threads: Channel<Sender: Sender + Send, Receiver: Receiver + Send> {
    fn split(self) -> (Self::Sender, Self::Receiver);
}

pub(crate) trait Sender {
    /// Sends one block. When this returns, the receiver can have all of it.
    fn send(&mut self, block: &[u8]);

    /// System calls so far, if the adapter counts them.
    fn calls(&self) -> Option<u64> {
        None
    }
}

pub(crate) trait Receiver {
    /// Fills all of `block`. From a channel of messages, receives the next one.
    fn receive(&mut self, block: &mut [u8]);

    fn calls(&self) -> Option<u64> {
        None
    }
}

/// A sender that lets its task sleep instead of its thread.
#[cfg(feature = "async")]
pub(crate) trait SenderAsync {
    /// Sends one block.
    async fn send(&mut self, block: &[u8]);
}

/// A receiver that lets its task sleep instead of its thread.
#[cfg(feature = "async")]
pub(crate) trait ReceiverAsync {
    /// Fills all of `block`.
    async fn receive(&mut self, block: &mut [u8]);
}

/// A sender whose channel lends its memory to the caller.
pub(crate) trait SenderInPlace: Sender {
    /// Sends one block of `len` bytes. `make` writes all of it into the channel's memory:
    /// one call for each contiguous piece, in order. When this returns, the receiver can
    /// have all of it.
    fn send_in_place(&mut self, len: usize, make: impl FnMut(&mut [u8]));

    /// Sends `count` blocks of `len` bytes.
    #[inline(always)]
    fn send_all_in_place(&mut self, count: u64, len: usize, mut make: impl FnMut(&mut [u8])) {
        for _ in 0..count {
            self.send_in_place(len, &mut make);
        }
    }
}

/// A receiver whose channel lends its memory to the caller.
pub(crate) trait ReceiverInPlace: Receiver {
    /// Receives one block of `len` bytes. `check` sees all of it in the channel's memory:
    /// one call for each contiguous piece, in order.
    fn receive_in_place(&mut self, len: usize, check: impl FnMut(&[u8]));

    /// Receives `count` blocks of `len` bytes.
    #[inline(always)]
    fn receive_all_in_place(&mut self, count: u64, len: usize, mut check: impl FnMut(&[u8])) {
        for _ in 0..count {
            self.receive_in_place(len, &mut check);
        }
    }
}

/// Calls `ready` until it gives something: the wait for contenders that have none.
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

/// Any error as an `io::Error`.
#[cfg_attr(not(feature = "rings"), allow(dead_code))]
pub(crate) fn other(error: impl std::fmt::Debug) -> io::Error {
    io::Error::other(format!("{error:?}"))
}
