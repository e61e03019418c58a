//! No call returns bytes from both sides of an end, and at the end each call
//! says so, again and again.

use std::fs::File;
use std::io::{self, ErrorKind, IoSliceMut, Read, Seek, Write};
use std::time::Instant;

use shmpipe::{
    Broken, Consumer, PartialError, PeekError, ReadGrant, Ring, TryReadError, WaitError, WaitPolicy,
};

use crate::common::offsets::{SIGNALS, WANTS, read};
use crate::common::{self, alone, page};
use crate::{Persistent, Told, broken, later, room_for, take};

/// The bytes that a call has taken out of the ring; none at the end.
type Taken = io::Result<Vec<u8>>;

/// Makes a call for `len` bytes.
type Call = fn(&mut Consumer, usize) -> Taken;

/// What a call has taken that says how much it moved before it stopped.
fn moved(mut bytes: Vec<u8>, result: Result<usize, PartialError>) -> Taken {
    let moved = match result {
        Ok(moved) => moved,
        Err(PartialError {
            moved: 0, cause, ..
        }) => match cause {
            WaitError::Ended => 0,
            WaitError::Broken(broken) => return Err(broken.into()),
            other => panic!("{other}"),
        },
        Err(partial) => partial.moved,
    };
    bytes.truncate(moved);
    Ok(bytes)
}

/// What a grant shows, which is taken.
fn granted(grant: Result<ReadGrant<'_>, PeekError>) -> Taken {
    match grant {
        Ok(grant) => {
            let mut bytes = vec![0; grant.len()];
            grant.read_at(&mut bytes, 0);
            grant.consume_all();
            Ok(bytes)
        }
        // There are some, and fewer than were asked for; or none.
        Err(PeekError::Ended { .. }) => Ok(vec![]),
        Err(PeekError::Broken(broken)) => Err(broken.into()),
        Err(other) => panic!("{other}"),
    }
}

fn exact(consumer: &mut Consumer, len: usize) -> Taken {
    let before = consumer.position();
    let mut bytes = vec![0; len];
    let result = consumer.read_exact(&mut bytes);
    let moved = (consumer.position() - before) as usize;
    bytes.truncate(moved);
    match result {
        Err(error) if moved == 0 && error.kind() != ErrorKind::UnexpectedEof => Err(error),
        _ => Ok(bytes),
    }
}

fn drained(drain: impl FnOnce(&File) -> io::Result<usize>) -> Taken {
    let mut file = common::memory::memfd(0);
    let drained = drain(&file)?;
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    assert_eq!(bytes.len(), drained);
    Ok(bytes)
}

const CALLS: &[(&str, Call)] = &[
    ("read", |consumer, len| {
        let mut bytes = vec![0; len];
        let read = consumer.read(&mut bytes)?;
        bytes.truncate(read);
        Ok(bytes)
    }),
    ("read_to_end", |consumer, _| {
        let mut bytes = Vec::new();
        match consumer.read_to_end(&mut bytes) {
            Err(error) if bytes.is_empty() => Err(error),
            _ => Ok(bytes),
        }
    }),
    ("read_exact", exact),
    ("read_vectored", |consumer, len| {
        let mut bytes = vec![0; len];
        let (one, two) = bytes.split_at_mut(1);
        let mut parts = [IoSliceMut::new(one), IoSliceMut::new(two)];
        let read = consumer.read_vectored(&mut parts)?;
        bytes.truncate(read);
        Ok(bytes)
    }),
    ("try_read", |consumer, len| {
        let mut bytes = vec![0; len];
        match consumer.try_read(&mut bytes) {
            Ok(read) => bytes.truncate(read),
            Err(TryReadError::Broken(broken)) => return Err(broken.into()),
            Err(TryReadError::Empty) => panic!("it would wait"),
        }
        Ok(bytes)
    }),
    ("read_deadline", |consumer, len| {
        let mut bytes = vec![0; len];
        let read = consumer.read_deadline(&mut bytes, later());
        moved(bytes, read)
    }),
    ("read_deadline, past", |consumer, len| {
        let mut bytes = vec![0; len];
        let read = consumer.read_deadline(&mut bytes, Instant::now());
        moved(bytes, read)
    }),
    ("read_exact_deadline", |consumer, len| {
        let mut bytes = vec![0; len];
        let read = consumer.read_exact_deadline(&mut bytes, later());
        moved(bytes, read.map(|()| len))
    }),
    ("peek", |consumer, len| granted(consumer.try_peek(len))),
    ("peek_up_to", |consumer, len| {
        granted(consumer.try_peek_up_to(len))
    }),
    ("peek_deadline", |consumer, len| {
        granted(consumer.peek_deadline(len, later()))
    }),
    ("drain_to", |consumer, len| {
        drained(|file| consumer.drain_to(file, len))
    }),
    ("drain_to_deadline", |consumer, len| {
        drained(|file| consumer.drain_to_deadline(file, len, later()))
    }),
];

/// Puts a stream that ends as said, and another one behind it, in the ring; and
/// gives a consumer of it and what it is to be told.
type Made = (Box<dyn std::any::Any>, Consumer, Told);

fn finish(bytes: &[u8], ring: Ring) {
    let mut producer = ring.into_producer().unwrap();
    producer.write_all(bytes).unwrap();
    producer.close().unwrap();
}

fn in_own_memory() -> Made {
    let memory = room_for(4096);
    finish(b"abc", memory.init(&common::options()).unwrap());
    finish(b"defgh", memory.attach(&common::options()).unwrap());
    let ring = memory.attach(&common::options()).unwrap();
    let consumer = ring.into_consumer().unwrap();
    (Box::new(memory), consumer, Told::Finished)
}

fn finished() -> Made {
    let ring = Persistent::new();
    ring.finish(b"abc");
    ring.finish(b"defgh");
    let consumer = ring.consumer();
    (Box::new(ring), consumer, Told::Finished)
}

fn aborted() -> Made {
    let ring = Persistent::new();
    ring.abort(b"abc");
    ring.finish(b"defgh");
    let consumer = ring.consumer();
    (Box::new(ring), consumer, Told::Aborted)
}

fn died() -> Made {
    let ring = Persistent::new();
    let pid = ring.die(b"abc");
    ring.finish(b"defgh");
    let consumer = ring.consumer();
    (Box::new(ring), consumer, Told::Died(pid))
}

/// The same with a consumer that was there before.
fn before_the_end() -> Made {
    let ring = Persistent::new();
    let consumer = ring.consumer();
    ring.finish(b"abc");
    ring.finish(b"defgh");
    (Box::new(ring), consumer, Told::Finished)
}

#[track_caller]
fn how(name: &str, taken: Taken) -> Told {
    match taken {
        Ok(bytes) => {
            assert_eq!(bytes, b"", "{name}");
            Told::Finished
        }
        Err(error) => match broken(&error) {
            Broken::ProducerAborted => Told::Aborted,
            Broken::Died { pid, .. } => Told::Died(pid),
            other => panic!("{name}: {other}"),
        },
    }
}

#[test]
fn no_call_returns_bytes_from_both_sides_of_an_end() {
    alone(
        "calls::no_call_returns_bytes_from_both_sides_of_an_end",
        || {
            for make in [finished, aborted, died, before_the_end, in_own_memory] {
                // Of the first stream there is nothing, some, or all of it to read.
                for before in 0..=3 {
                    for &(name, call) in CALLS {
                        for len in [1, 3, 4, 8] {
                            let (ring, mut consumer, end) = make();
                            consumer.read_exact(&mut b"abc".to_vec()[..before]).unwrap();
                            let taken = match call(&mut consumer, len) {
                                Ok(taken) => taken,
                                Err(error) => {
                                    assert_eq!(how(name, Err(error)), end, "{name}");
                                    vec![]
                                }
                            };
                            let (rest, told) = take(&mut consumer);
                            let all = [&taken[..], &rest].concat();
                            assert_eq!(all, b"abc"[before..], "{name} of {len} after {before}");
                            assert_eq!(told, end, "{name}");
                            assert!(consumer.next_stream().unwrap());
                            assert_eq!(take(&mut consumer), (b"defgh".to_vec(), Told::Finished));
                            drop(consumer);
                            drop(ring);
                        }
                    }
                }
            }
        },
    );
}

#[test]
fn at_an_end_each_call_says_so_again_and_again() {
    alone("calls::at_an_end_each_call_says_so_again_and_again", || {
        for make in [finished, aborted, died, before_the_end, in_own_memory] {
            let (ring, mut consumer, end) = make();
            let start = Instant::now();
            consumer.read_exact(&mut [0; 3]).unwrap();
            for _ in 0..3 {
                for &(name, call) in CALLS {
                    for len in [1, 8] {
                        assert_eq!(how(name, call(&mut consumer, len)), end, "{name}");
                    }
                }
                assert_eq!(consumer.available(), Ok(0));
                assert_eq!(consumer.check_peer(), Ok(()));
            }
            assert!(start.elapsed() < common::PATIENCE, "that is a hang");
            assert!(consumer.next_stream().unwrap());
            assert_eq!(consumer.available(), Ok(5));
            drop(consumer);
            drop(ring);
        }
    });
}

#[test]
fn a_window_opens_up_to_the_end_and_no_farther() {
    let ring = Persistent::new();
    let mut consumer = ring.consumer();
    ring.finish(&vec![1; 1000]);
    ring.finish(&vec![2; 1000]);
    assert_eq!(consumer.available(), Ok(1000));
    assert_eq!(consumer.try_peek_up_to(page()).unwrap().len(), 1000);
    let (wanted, available) = (1001, 1000);
    let ended = PeekError::Ended { wanted, available };
    assert_eq!(consumer.try_peek(1001).unwrap_err(), ended);
    // Bytes that were known before the end was.
    let ring = Persistent::new();
    let mut producer = ring.producer();
    let mut consumer = ring.consumer();
    producer.write_all(&[1; 10]).unwrap();
    assert_eq!(consumer.available(), Ok(10));
    producer.close().unwrap();
    ring.finish(&[2; 10]);
    let mut bytes = [0; 30];
    assert_eq!(consumer.read(&mut bytes).unwrap(), 10);
    assert_eq!(consumer.read(&mut bytes).unwrap(), 0);
}

/// Found in review: a consumer that takes messages one at a time looked for the
/// next one beside the tail without a look at the end that it had come to.
#[test]
fn a_message_does_not_come_from_behind_an_end() {
    for (len, looks_first) in [(5, false), (5, true), (90, false), (90, true)] {
        let ring = Persistent::new();
        let mut producer = ring.producer();
        let mut consumer = ring.consumer();
        consumer.set_wait_policy(WaitPolicy::Spin);
        consumer.set_pace(shmpipe::Pace::Latency);
        let id = producer.id().unwrap();
        for _ in 0..40 {
            producer.write_all(&vec![1; len]).unwrap();
            assert_eq!(consumer.read(&mut vec![0; len]).unwrap(), len);
        }
        // Else it would not look for one.
        assert_ne!(read(id, SIGNALS[1] + WANTS - 4) >> 32, 0, "{len}");
        producer.close().unwrap();
        if looks_first {
            assert_eq!(consumer.read(&mut vec![0; len]).unwrap(), 0);
        }
        let mut next = ring.producer();
        // It looks at the end, and then there is a message behind it.
        assert_eq!(consumer.read(&mut vec![0; len]).unwrap(), 0);
        next.write_all(&vec![2; len]).unwrap();
        for _ in 0..3 {
            assert_eq!(consumer.read(&mut vec![0; len]).unwrap(), 0, "{len}");
            let error = consumer.read_exact(&mut vec![0; len]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "{len}");
        }
        assert!(consumer.next_stream().unwrap());
        let mut bytes = vec![0; len];
        assert_eq!(consumer.read(&mut bytes).unwrap(), len);
        assert_eq!(bytes, vec![2; len]);
    }
}

#[cfg(feature = "async")]
#[test]
fn an_async_read_stops_at_an_end() {
    use futures::executor::block_on;
    use futures::io::AsyncReadExt;
    use shmpipe::asynchronous::AsyncConsumer;

    for make in [finished, aborted, before_the_end, in_own_memory] {
        let (ring, consumer, end) = make();
        let mut consumer = AsyncConsumer::new(consumer);
        let mut bytes = vec![0; 8];
        assert_eq!(block_on(consumer.read(&mut bytes)).unwrap(), 3);
        for _ in 0..3 {
            let read = block_on(consumer.read(&mut bytes)).map(|_| vec![]);
            assert_eq!(how("read", read), end);
            let mut parts = [IoSliceMut::new(&mut bytes)];
            let read = block_on(consumer.read_vectored(&mut parts)).map(|_| vec![]);
            assert_eq!(how("read_vectored", read), end);
            let readable = block_on(consumer.readable(1));
            assert!(readable.is_err());
        }
        assert!(consumer.get_mut().next_stream().unwrap());
        let mut rest = Vec::new();
        block_on(consumer.read_to_end(&mut rest)).unwrap();
        assert_eq!(rest, b"defgh");
        drop(consumer);
        drop(ring);
    }
}
