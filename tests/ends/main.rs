//! Ends: in a ring that outlives its producers each stream ends once, in order,
//! at its last byte, and as it did, whoever opens when.
#![allow(missing_docs)]
#![allow(unsafe_code)] // maps memory, and tells of it

mod abandoned;
mod acknowledged;
mod breaking_off;
mod calls;
#[path = "../common/mod.rs"]
mod common;
#[cfg(feature = "__failpoints")]
mod killed;
mod orders;
mod places;
mod queue;
mod rows;
#[cfg(feature = "__failpoints")]
mod sessions;
mod waiting;
mod wraps;

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use common::memory::Mapping;
use common::{End, Fork, TempPath, broken, exit_now, options, page};
use shmpipe::{Broken, Consumer, Options, Producer, Role};

/// How a stream ended, as a consumer is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Finished,
    Aborted,
    Died(u32),
}

/// A ring that persists, under a name of its own.
struct Persistent {
    path: TempPath,
    options: Options,
}

impl Persistent {
    fn new() -> Persistent {
        let mut options = options();
        options.persistent(true).capacity(page());
        let path = TempPath::new();
        Persistent { path, options }
    }

    fn producer(&self) -> Producer {
        self.options.open_producer(&self.path).unwrap()
    }

    /// One that goes on with a stream.
    fn resumer(&self) -> Producer {
        let mut options = self.options.clone();
        options.resume(true).open_producer(&self.path).unwrap()
    }

    fn consumer(&self) -> Consumer {
        self.options.open_consumer(&self.path).unwrap()
    }

    fn finish(&self, bytes: &[u8]) {
        let mut producer = self.producer();
        producer.write_all(bytes).unwrap();
        producer.close().unwrap();
    }

    fn abort(&self, bytes: &[u8]) {
        let mut producer = self.producer();
        producer.write_all(bytes).unwrap();
        producer.abort();
    }

    /// Has a process die in mid-stream; its id. See [`Fork::new`].
    fn die(&self, bytes: &[u8]) -> u32 {
        let mut child = Fork::new(|| {
            let mut producer = self.producer();
            producer.write_all(bytes).unwrap();
            exit_now(1);
        });
        assert_eq!(child.wait(), End::Exit(1));
        child.pid()
    }
}

/// Memory for a ring of this many bytes.
fn room_for(capacity: usize) -> Mapping {
    Mapping::new(page() + capacity.next_multiple_of(page()))
}

fn soon() -> Instant {
    Instant::now() + Duration::from_millis(30)
}

fn later() -> Instant {
    Instant::now() + common::PATIENCE
}

/// What the answer of a read says of the end.
#[track_caller]
fn told(end: &io::Result<usize>) -> Told {
    match end {
        Ok(_) => Told::Finished,
        Err(error) => match broken(error) {
            Broken::ProducerAborted => Told::Aborted,
            Broken::Died {
                role: Role::Producer,
                pid,
            } => Told::Died(pid),
            other => panic!("{other}"),
        },
    }
}

/// The rest of a stream, and how it ended.
#[track_caller]
fn take(consumer: &mut Consumer) -> (Vec<u8>, Told) {
    let mut bytes = Vec::new();
    let end = consumer.read_to_end(&mut bytes);
    (bytes, told(&end))
}

/// Streams that follow one another.
#[track_caller]
fn assert_streams(consumer: &mut Consumer, streams: &[(&[u8], Told)]) {
    for (number, (bytes, how)) in streams.iter().enumerate() {
        let taken = take(consumer);
        assert_eq!(taken, (bytes.to_vec(), *how), "stream {number}");
        assert!(consumer.next_stream().unwrap());
    }
    assert_nothing_comes(consumer);
}

#[track_caller]
fn assert_nothing_comes(consumer: &mut Consumer) {
    let error = consumer.read_deadline(&mut [0], soon()).unwrap_err();
    let error = io::Error::from(error);
    assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
}
