//! Handles for executors, with the feature `async`. A waiting call suspends its
//! task, not its thread.
//!
//! [`AsyncProducer`] and [`AsyncConsumer`] implement the traits of [`futures_io`], and so
//! work with every executor. `futures` and `smol` use these traits directly. `tokio` has
//! traits of its own, which the handles implement with the feature `tokio`: see
//! `examples/tokio_codec.rs`. Without that feature, `tokio_util::compat` translates: see
//! `examples/async_tokio.rs`. With both sets of traits, import the extension traits of one
//! set only (`futures::AsyncReadExt`, or `tokio::io::AsyncReadExt`), or name the trait in
//! the call.
//!
//! # What it costs
//!
//! A futex is not a descriptor, so an executor cannot wait for one. One thread of
//! the process, `shmpipe-waiter`, waits for all async handles in one system call
//! (`FUTEX_WAITV`). The thread starts with the first call that has to wait, and
//! ends after a second without such calls. Available bytes are read, and available
//! room is written, without this thread and without a system call.
//!
//! - A wake goes from the peer to this thread, and then to the task: one context
//!   switch more than for a blocking handle. A call never spins, whatever the
//!   [`WaitPolicy`](crate::WaitPolicy).
//! - While a call waits, the thread wakes up every 10 ms to ask whether the peer
//!   lives, as a blocked call does. With more than 32 waiting calls, the thread
//!   checks the peers and cancel flags of 32 of them at a time. These checks do not
//!   wake the task.
//! - The kernel waits for 127 handles at once. With more handles, the thread sleeps
//!   on them in turn, for at most 5 ms at a time. Some wakes are delayed by that
//!   time.
//! - The thread calls the wakers. A waker that blocks delays the other wakes. A
//!   waker that panics, in a call or in its drop, does not.
//! - Before Linux 5.16, or if a filter forbids the system call, the thread looks at
//!   all handles every millisecond.
//!
//! # Opening
//!
//! [`Options::open_producer`](crate::Options::open_producer),
//! [`Options::open_consumer`](crate::Options::open_consumer) and the like wait for
//! the peer and block the thread. Run them where the executor runs blocking calls
//! (`tokio::task::spawn_blocking`, `blocking::unblock`). Give them a
//! [timeout](crate::Options::timeout) or a [cancel
//! flag](crate::Options::cancel_on). Or use
//! [`wait_for_peer(false)`](crate::Options::wait_for_peer). Anonymous rings do not
//! wait. A producer with a spawned child that has not taken its end blocks in its
//! drop. [`close`](futures_io::AsyncWrite::poll_close) waits for that child without
//! blocking.
//!
//! # Fork
//!
//! As with any handle, a forked child's copy is inert. The thread stays with the
//! parent. A child that waits for rings of its own starts its own thread.

mod consumer;
mod producer;
#[cfg(feature = "tokio")]
mod tokio;

pub use consumer::AsyncConsumer;
pub use producer::AsyncProducer;
