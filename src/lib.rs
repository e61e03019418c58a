//! A pipe made of System V shared memory: a lock-free ring of bytes with one
//! producer and one consumer, which two processes on one Linux host stream
//! bytes through, with no system call while both are busy.
//!
//! It does not carry messages, only bytes; it has no second producer and no
//! second consumer; it reaches no other host; and what was not published when
//! a process died is gone with it.
//!
//! # Examples
//!
//! Two processes that know one path, in either order:
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
//! | a ring between unrelated processes | [`Options::producer`], [`Options::consumer`] |
//! | a ring over a fork, or between threads | [`Ring`], [`pair()`] |
//! | a ring to a child process | [`Ring::spawn_consumer`], [`Consumer::from_parent`] and the like |
//! | a ring in a memfd, POSIX shared memory or a static | [`Options::init_in`], [`Options::attach_in`] |
//! | a segment that outlives its writer | [`Options::persistent`] |
//! | what happens when the peer dies | [`Broken`] |
//! | what is there, and removing it | [`Snapshot`], [`remove`], [`remove_stale`] |
//! | what is here in place of what you know | [`guide::from_other_channels`] |
//! | everything else: how it works, failures, deployment, performance, tests | [`guide`] |
//! | System V shared memory itself | [`sysv`] |
//!
//! # Trust
//!
//! The peer is a stranger. Nothing that it writes to the segment can make a
//! handle here read or write outside the ring, panic, or wait past its
//! timeout: a handle that finds the protocol broken says so, with
//! [`Broken::Corrupted`], and is of no further use. What the peer *sends* is
//! its own business, and it can write to the ring's bytes at any time; so
//! bytes are copied out before anybody looks at them. A segment that belongs
//! to another user, or is open to others, is not looked into.
//!
//! # Features
//!
//! - `async`: handles for executors, over the traits of `futures-io`; see the
//!   module `asynchronous`.
//! - `cli`: the `shmpipe` command.

#[cfg(not(all(
    target_os = "linux",
    target_has_atomic = "64",
    target_pointer_width = "64"
)))]
compile_error!(
    "shmpipe needs Linux, whose System V shared memory and futexes it is made of, on a 64-bit \
     target with 64-bit atomics, in which it counts positions"
);

#[cfg(feature = "async")]
pub mod asynchronous;
mod barrier;
mod child;
mod classify;
mod consumer;
mod copy;
mod cpu;
mod deadline;
mod echo;
mod endpoint;
mod environment;
mod error;
mod files;
mod fork;
#[cfg(not(loom))]
mod futex;
#[cfg(loom)]
#[path = "model/futex.rs"]
mod futex;
mod grant;
#[cfg(any(doc, doctest))]
pub mod guide;
mod held;
mod identity;
mod keyfile;
mod layout;
mod lifecycle;
mod marks;
#[cfg(loom)]
#[doc(hidden)]
pub mod model;
mod monitor;
mod options;
mod own_memory;
mod pace;
mod pair;
mod peer;
mod position;
mod producer;
mod random;
mod region;
mod ring;
mod roles;
mod shown;
mod state;
#[cfg(feature = "__failpoints")]
#[doc(hidden)]
pub mod steps;
#[cfg(not(feature = "__failpoints"))]
mod steps;
mod sync;
pub mod sysv;
mod wait;

pub use consumer::Consumer;
pub use error::{
    Broken, CloseError, Corruption, Incompatible, MemoryError, NextStreamError, OpenError, Partial,
    PeekError, Place, ReserveError, Rule, Stop, TryReadError, TryWriteError,
};
pub use grant::{ReadGrant, WriteGrant};
pub use monitor::{LifeCycle, RemoveError, Snapshot, User, remove, remove_path, remove_stale};
pub use options::{DEFAULT_CAPACITY, Options};
pub use pace::Pace;
pub use pair::{Ring, pair};
pub use producer::Producer;
pub use roles::Occupant;
pub use state::Role;
pub use wait::{Stats, WaitPolicy};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
#[derive(Debug)]
pub struct Readme;
