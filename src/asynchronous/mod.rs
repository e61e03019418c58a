//! Handles for executors, with the feature `async`: they let a task sleep
//! instead of its thread.
//!
//! [`AsyncProducer`] and [`AsyncConsumer`] implement the traits of
//! [`futures_io`], and so work with every executor: `futures`, `smol` and the
//! like use them as they are; `tokio` through `tokio_util::compat`, as
//! `examples/async_tokio.rs` shows.
//!
//! # What it costs
//!
//! A futex is no descriptor, so an executor cannot wait for it. One thread of
//! the process, `shmpipe-async`, waits for all of its handles, in one system
//! call (`FUTEX_WAITV`): it starts with the first call that must wait, and ends
//! when for a second none has. What is there is read, and what there is room
//! for is written, without it and without a system call.
//!
//! - A wake goes from the peer to this thread, and from there to the task: one
//!   switch more than with a handle that blocks. A call never spins, whatever
//!   the [`WaitPolicy`](crate::WaitPolicy) says.
//! - While a call waits, the thread wakes up each 10 ms to ask whether the
//!   peer lives, as a blocked call does; of more than 32 waiting calls, it
//!   asks after 32 at a time. It does not wake the task for that.
//! - The kernel takes 127 handles at once. With more, the thread sleeps on
//!   them in turn, for 5 ms or less at a time, and some wakes take as long.
//! - The thread calls the wakers. One that blocks holds up the others; one that
//!   panics, in a call or in its drop, does not.
//! - Before Linux 5.16, or where a filter forbids the call, the thread looks
//!   each millisecond.
//!
//! # Opening
//!
//! [`Options::open_producer`](crate::Options::open_producer),
//! [`Options::open_consumer`](crate::Options::open_consumer) and the like wait for the
//! peer and so block their thread. Call them where the executor has blocking
//! calls made (`tokio::task::spawn_blocking`, `blocking::unblock`), with a
//! [timeout](crate::Options::timeout) or a
//! [cancel flag](crate::Options::cancel_on); or use
//! [`wait_for_peer(false)`](crate::Options::wait_for_peer). Anonymous rings do not wait. A drop of
//! a producer whose spawned child has not taken its end waits for it;
//! [`close`](futures_io::AsyncWrite::poll_close) does so without blocking.
//!
//! # Fork
//!
//! As with any handle, a child's copy is inert. The thread stays with the
//! parent; a child that waits for rings of its own starts its own.

mod consumer;
mod foreign;
mod parking;
mod producer;
mod reactor;
mod slot;
mod thread;

pub use consumer::AsyncConsumer;
pub use producer::AsyncProducer;
