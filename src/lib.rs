//! A pipe in System V shared memory: a lock-free ring of bytes with one producer
//! and one consumer. Two processes on one Linux host stream bytes through the ring,
//! without a system call while both are busy.
//!
//! The ring carries bytes; [`records`] puts messages on top. There is no second producer or consumer,
//! and no other host. Bytes that a process had not published when it died are lost.
//!
//! # Examples
//!
//! Two processes that know one path, started in either order:
//!
//! ```
//! use std::io::{Read, Write};
//! # let path = std::env::temp_dir().join(format!("shmpipe-doc-lib-{}", std::process::id()));
//! # std::fs::write(&path, "")?;
//! # let other = path.clone();
//!
//! # let sender = std::thread::spawn(move || -> std::io::Result<()> { let path = other;
//! // one of them
//! let mut producer = shmpipe::Producer::open(&path)?;
//! producer.write_all(b"hello")?;
//! drop(producer); // finishes the stream
//! # Ok(()) });
//!
//! // the other one
//! let mut consumer = shmpipe::Consumer::open(&path)?;
//! let mut text = String::new();
//! consumer.read_to_string(&mut text)?; // to the end of the stream
//! assert_eq!(text, "hello");
//! # sender.join().unwrap()?;
//! # std::fs::remove_file(&path)?;
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # Where to look
//!
//! | for | see |
//! |---|---|
//! | a ring between unrelated processes | [`Options::open_producer`], [`Options::open_consumer`] |
//! | a ring over a fork, or between threads | [`Ring`], [`pair()`] |
//! | a ring to a child process | [`Ring::spawn_consumer`], [`Consumer::from_parent`] |
//! | rings in both directions to a child, or several by name | [`spawn_duplex`], [`Handover`] |
//! | a ring in a memfd, POSIX shared memory or a static | [`Options::create_in`], [`Options::attach_in`] |
//! | a segment that outlives its writer | [`Options::persistent`] |
//! | many rings in one thread; a descriptor for epoll | [`WaitSet`] |
//! | messages: length-prefixed records, values of one type | [`records`] |
//! | what happens when the peer dies | [`Broken`] |
//! | looking at rings and removing them | [`Snapshot`], [`Options::snapshot`], [`Options::remove`], [`remove_stale`] |
//! | moving here from pipes, sockets or channels | [`guide::from_other_channels`] |
//! | how the crate works, failures, deployment, performance, tests | [`guide`] |
//! | System V shared memory itself | [`sysv`] |
//!
//! # Trust
//!
//! The peer is not trusted. Whatever the peer writes to the segment, a handle does
//! not read or write outside the ring, panic, or wait past its timeout. A handle
//! that finds the protocol broken returns [`Broken::Corrupted`] from then on. The
//! peer can write to the ring's bytes at any time, so bytes are copied out before
//! anything looks at them. By default, segments that belong to another user, or are
//! open to other users, are refused without being read.
//!
//! # Features
//!
//! - `async`: handles for executors, over the traits of `futures-io`. See the
//!   module `asynchronous`.
//! - `tokio`: the traits of tokio on these handles.
//! - `bytes`: the traits of `bytes` on [`TrustedRead`] and [`TrustedWrite`].
//! - `zerocopy`: messages of one type of plain data. See [`records`].
//! - `tracing`: events, with the target `shmpipe`, when a ring is made, opened, claimed, paired or
//!   reclaimed, and when a peer is lost or the protocol broken. Calls that only move bytes report
//!   nothing. The subscriber runs in the calls that report. In a child that was forked beside
//!   threads, a lock of the subscriber may be held for ever.
//!
//! The command `shmpipe` is a separate package, `crates/cli`.

#![cfg_attr(loom, allow(dead_code, unused_imports))] // the models use a part

#[cfg(not(all(
    target_os = "linux",
    target_has_atomic = "64",
    target_pointer_width = "64"
)))]
compile_error!(
    "shmpipe needs Linux, for System V shared memory and futexes, and a 64-bit target with \
     64-bit atomics, for its positions"
);

#[doc(hidden)]
pub mod escape;
mod role;
mod sync;
mod tuning;

mod sys;

pub mod error;

mod segment;

mod ring;

mod wait;

mod peer;

mod open;

mod handle;

#[cfg(not(loom))] // the reactor sleeps on a word of std
mod reactor;

#[cfg(feature = "async")]
pub mod asynchronous;
mod options;
mod placed;
mod remove;
#[cfg(not(loom))]
pub mod set;
mod snapshot;
mod spawn;

pub mod records;

#[cfg(any(doc, doctest))]
pub mod guide;
#[cfg(loom)]
#[doc(hidden)]
pub mod models;

pub use error::{
    Broken, CloseError, NextStreamError, OpenError, PartialError, PeekError, RecordError,
    ReserveError, TryReadError, TryWriteError, WaitError,
};
pub use handle::consumer::Consumer;
pub use handle::grant::{ReadGrant, TrustedRead, TrustedWrite, WriteGrant};
pub use handle::producer::Producer;
pub use handle::ring::Ring;
pub use open::config::DEFAULT_CAPACITY;
pub use options::{Options, pair};
pub use peer::Occupant;
pub use remove::{RemoveError, User, force_remove, remove, remove_stale};
pub use role::Role;
#[cfg(not(loom))]
pub use set::WaitSet;
pub use snapshot::{LifeCycle, Snapshot};
pub use spawn::{Handover, duplex_from_parent, spawn_duplex};
#[cfg(feature = "__failpoints")]
#[doc(hidden)]
pub use sync::failpoint;
pub use sys::sysv;
pub use wait::coalesce::Pace;
pub use wait::{Stats, WaitPolicy};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
#[derive(Debug)]
pub struct Readme;
