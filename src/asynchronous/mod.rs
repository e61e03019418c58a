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
//! # Frames and records
//!
//! `LengthDelimitedCodec` of `tokio-util` writes a big-endian length by default, and
//! [`records`](crate::records) have a little-endian one. To write records by the codec, or to read
//! them, set the order:
#![cfg_attr(
    feature = "tokio",
    doc = r#"
```
use futures::{SinkExt, StreamExt, executor::block_on};
use shmpipe::asynchronous::{AsyncConsumer, AsyncProducer};
use shmpipe::records::{RecordReader, RecordWriter};
use tokio_util::codec::{FramedRead, FramedWrite, LengthDelimitedCodec};

# let (producer, consumer) = shmpipe::pair()?;
# let (back, from_back) = shmpipe::pair()?;
let codec = || {
    LengthDelimitedCodec::builder()
        .little_endian()
        .length_field_length(4)
        .max_frame_length(1 << 20) // and `set_most` of the other side
        .new_codec()
};
// A codec writes, and a reader of records reads.
let mut frames = FramedWrite::new(AsyncProducer::from(producer), codec());
block_on(frames.send(bytes::Bytes::from_static(b"a frame")))?;
let mut record = Vec::new();
assert!(RecordReader::new(consumer).read(&mut record)?);
assert_eq!(record, b"a frame");

// Here a writer of records writes, and a codec reads.
RecordWriter::new(back).write(b"a record")?;
let mut frames = FramedRead::new(AsyncConsumer::from(from_back), codec());
let frame = block_on(frames.next()).expect("no end")?;
assert_eq!(frame[..], b"a record"[..]);
# Ok::<(), std::io::Error>(())
```
"#
)]
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
