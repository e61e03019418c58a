//! What acknowledges an end, and what does not.

use std::fs::File;
use std::io::{IoSliceMut, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use shmpipe::{Broken, Consumer, NextStreamError, PeekError, Role};

use crate::common::{End, Fork, alone, kill_self};
use crate::{Persistent, Told, assert_nothing_comes, assert_streams, later, take};

/// A stream of three bytes, of which a consumer does something, and goes; then
/// another. What the next consumer finds.
#[track_caller]
fn after(name: &str, act: impl FnOnce(&Persistent, Consumer), acknowledges: bool) {
    let ring = Persistent::new();
    ring.finish(b"one");
    let consumer = ring.consumer();
    act(&ring, consumer);
    ring.finish(b"two");
    let mut next = ring.consumer();
    println!("{name}");
    if !acknowledges {
        let (bytes, how) = take(&mut next);
        assert!(bytes.is_empty() || bytes == b"one", "{name}: {bytes:?}");
        assert_eq!(how, Told::Finished, "{name}");
        assert!(next.next_stream().unwrap(), "{name}");
    }
    let streams: [(&[u8], _); 1] = [(b"two", Told::Finished)];
    assert_streams(&mut next, &streams);
}

/// Reads all bytes, and is given no end.
fn read_bytes(consumer: &mut Consumer) {
    consumer.read_exact(&mut [0; 3]).unwrap();
}

/// A name, and what a consumer does.
type Ways = [(&'static str, fn(&mut Consumer))];

/// Reading calls that return the end.
const READING: &Ways = &[
    ("read", |consumer| {
        assert_eq!(consumer.read(&mut [0; 9]).unwrap(), 3);
        assert_eq!(consumer.read(&mut [0; 9]).unwrap(), 0);
    }),
    ("try_read", |consumer| {
        read_bytes(consumer);
        assert_eq!(consumer.try_read(&mut [0]), Ok(0));
    }),
    ("read_deadline", |consumer| {
        read_bytes(consumer);
        let end = consumer.read_deadline(&mut [0], Instant::now());
        assert_eq!(end.unwrap(), 0);
    }),
    ("read_exact", |consumer| {
        consumer.read_exact(&mut [0; 4]).unwrap_err();
    }),
    ("read_exact_deadline", |consumer| {
        let read = consumer.read_exact_deadline(&mut [0; 4], Instant::now());
        assert_eq!(read.unwrap_err().moved, 3);
    }),
    ("read_vectored", |consumer| {
        read_bytes(consumer);
        let mut byte = [0];
        let mut parts = [IoSliceMut::new(&mut byte)];
        assert_eq!(consumer.read_vectored(&mut parts).unwrap(), 0);
    }),
    ("drain_to", |consumer| {
        let null = File::create("/dev/null").unwrap();
        assert_eq!(consumer.drain_to(&null, 9).unwrap(), 3);
        assert_eq!(consumer.drain_to(&null, 9).unwrap(), 0);
    }),
];

#[test]
fn leaving_after_a_reading_call_returned_the_end_acknowledges_it() {
    for &(name, way) in READING {
        after(
            &format!("{name}, drop"),
            |_, mut consumer| {
                way(&mut consumer);
                drop(consumer);
            },
            true,
        );
        after(
            &format!("{name}, close"),
            |_, mut consumer| {
                way(&mut consumer);
                consumer.close().unwrap();
            },
            true,
        );
        after(
            &format!("{name}, abort"),
            |_, mut consumer| {
                way(&mut consumer);
                consumer.abort();
            },
            false,
        );
    }
}

#[test]
fn the_next_stream_acknowledges_whatever_comes_then() {
    let act = |_: &Persistent, mut consumer: Consumer| {
        take(&mut consumer);
        assert!(consumer.next_stream().unwrap());
        consumer.abort();
    };
    after("next_stream", act, true);
    let act = |_: &Persistent, mut consumer: Consumer| {
        read_bytes(&mut consumer);
        assert_eq!(
            consumer.try_peek(1).unwrap_err(),
            PeekError::Ended {
                wanted: 1,
                available: 0
            }
        );
        assert!(consumer.next_stream().unwrap());
        consumer.abort();
    };
    after("next_stream after a peek", act, true);
    let act = |_: &Persistent, mut consumer: Consumer| {
        take(&mut consumer);
        let nothing = consumer.next_stream_deadline(Instant::now());
        assert_eq!(nothing, Err(NextStreamError::TimedOut));
        consumer.abort();
    };
    after("next_stream_deadline", act, true);
}

#[test]
fn looking_at_an_end_does_not_acknowledge_it() {
    let ways: &Ways = &[
        ("nothing", |_| {}),
        ("the bytes", read_bytes),
        ("peek", |consumer| {
            read_bytes(consumer);
            let (wanted, available) = (1, 0);
            let ended = PeekError::Ended { wanted, available };
            assert_eq!(consumer.try_peek(1).unwrap_err(), ended);
            assert_eq!(consumer.try_peek_up_to(1).unwrap_err(), ended);
            assert_eq!(consumer.peek_deadline(1, later()).unwrap_err(), ended);
        }),
        ("available", |consumer| {
            read_bytes(consumer);
            assert_eq!(consumer.available(), Ok(0));
        }),
        ("check_peer", |consumer| {
            read_bytes(consumer);
            consumer.check_peer().unwrap();
        }),
        ("wait_for_peer", |consumer| {
            read_bytes(consumer);
            consumer.wait_for_peer().unwrap();
        }),
        ("an empty read", |consumer| {
            read_bytes(consumer);
            assert_eq!(consumer.read(&mut []).unwrap(), 0);
        }),
    ];
    for &(name, way) in ways {
        let act = |_: &Persistent, mut consumer: Consumer| {
            way(&mut consumer);
            consumer.close().unwrap();
        };
        after(name, act, false);
    }
}

#[test]
fn a_panic_acknowledges_nothing() {
    let act = |_: &Persistent, mut consumer: Consumer| {
        let panics = AssertUnwindSafe(move || {
            take(&mut consumer);
            panic!("on purpose");
        });
        assert!(catch_unwind(panics).is_err());
    };
    after("panic", act, false);
}

#[test]
fn a_drop_under_abort_on_drop_acknowledges_nothing_and_a_close_does() {
    let act = |_: &Persistent, mut consumer: Consumer| {
        take(&mut consumer);
        consumer.set_abort_on_drop(true);
    };
    after("set_abort_on_drop", act, false);
    let act = |ring: &Persistent, consumer: Consumer| {
        drop(consumer);
        let mut options = ring.options.clone();
        let mut consumer = options
            .abort_on_drop(true)
            .open_consumer(&ring.path)
            .unwrap();
        take(&mut consumer);
    };
    after("abort_on_drop", act, false);
    let act = |_: &Persistent, mut consumer: Consumer| {
        take(&mut consumer);
        consumer.set_abort_on_drop(true);
        consumer.close().unwrap();
    };
    after("close under abort_on_drop", act, true);
}

#[test]
fn a_death_acknowledges_nothing() {
    alone("acknowledged::a_death_acknowledges_nothing", || {
        let act = |ring: &Persistent, consumer: Consumer| {
            drop(consumer);
            let mut child = Fork::new(|| {
                let mut consumer = ring.consumer();
                take(&mut consumer);
                kill_self();
            });
            assert_eq!(child.wait(), End::Signal(libc::SIGKILL));
        };
        after("death", act, false);
    });
}

#[test]
fn ends_left_unacknowledged_come_again_each_as_it_was() {
    alone(
        "acknowledged::ends_left_unacknowledged_come_again_each_as_it_was",
        || {
            let ring = Persistent::new();
            ring.abort(b"1");
            let pid = ring.die(b"22");
            ring.finish(b"333");
            let ends = [Told::Aborted, Told::Died(pid), Told::Finished];
            for (len, end) in [1, 2, 3].into_iter().zip(ends) {
                for turn in 0..3 {
                    let mut consumer = ring.consumer();
                    let (bytes, how) = take(&mut consumer);
                    assert_eq!(bytes.len(), if turn == 0 { len } else { 0 });
                    assert_eq!(how, end);
                    if turn < 2 {
                        consumer.abort();
                    }
                }
            }
            assert_nothing_comes(&mut ring.consumer());
        },
    );
}

#[test]
fn nothing_is_acknowledged_in_mid_stream() {
    let ring = Persistent::new();
    let mut producer = ring.producer();
    let mut consumer = ring.consumer();
    let not_ended = |available| Err(NextStreamError::NotEnded { available });
    assert_eq!(consumer.next_stream(), not_ended(0));
    producer.write_all(b"abc").unwrap();
    assert_eq!(consumer.next_stream(), not_ended(3));
    producer.close().unwrap();
    assert_eq!(consumer.next_stream(), not_ended(3));
    consumer.read_exact(&mut [0; 2]).unwrap();
    assert_eq!(consumer.next_stream(), not_ended(1));
    assert_eq!(consumer.next_stream_deadline(later()), not_ended(1));
    consumer.read_exact(&mut [0]).unwrap();
    assert_eq!(consumer.next_stream(), Ok(true));
    assert_eq!(consumer.next_stream(), not_ended(0));
}

/// Found in review: a stream that was broken off was acknowledged although no
/// call had said how it ended.
#[test]
fn what_was_broken_off_is_told_before_it_is_acknowledged() {
    alone(
        "acknowledged::what_was_broken_off_is_told_before_it_is_acknowledged",
        || {
            for died in [false, true] {
                for looks in [false, true] {
                    let ring = Persistent::new();
                    let broken = match died {
                        true => Broken::Died {
                            role: Role::Producer,
                            pid: ring.die(b"one"),
                        },
                        false => {
                            ring.abort(b"one");
                            Broken::ProducerAborted
                        }
                    };
                    ring.finish(b"two");
                    let mut consumer = ring.consumer();
                    read_bytes(&mut consumer);
                    assert!(!consumer.is_at_end());
                    if looks {
                        let told = PeekError::Broken(broken.clone());
                        assert_eq!(consumer.try_peek(1).unwrap_err(), told);
                        assert!(consumer.is_at_end());
                    } else {
                        let told = Err(NextStreamError::Broken(broken.clone()));
                        match died {
                            true => assert_eq!(consumer.next_stream(), told),
                            false => assert_eq!(consumer.next_stream_deadline(later()), told),
                        }
                        assert!(consumer.is_at_end());
                        drop(consumer); // told by no reading call: it comes again
                        consumer = ring.consumer();
                        let how = match broken {
                            Broken::Died { pid, .. } => Told::Died(pid),
                            _ => Told::Aborted,
                        };
                        assert_eq!(take(&mut consumer), (vec![], how));
                    }
                    assert_eq!(consumer.next_stream(), Ok(true));
                    assert!(!consumer.is_at_end());
                    assert_eq!(take(&mut consumer), (b"two".to_vec(), Told::Finished));
                }
            }
        },
    );
}

/// A death after which nobody came is no end: the stream may be resumed.
#[test]
fn a_death_is_an_end_once_another_stream_has_begun() {
    alone(
        "acknowledged::a_death_is_an_end_once_another_stream_has_begun",
        || {
            let ring = Persistent::new();
            let pid = ring.die(b"one");
            let mut consumer = ring.consumer();
            read_bytes(&mut consumer);
            assert_eq!(take(&mut consumer), (vec![], Told::Died(pid)));
            assert!(!consumer.is_at_end());
            drop(ring.producer());
            assert_eq!(take(&mut consumer), (vec![], Told::Died(pid)));
            assert!(consumer.is_at_end());
        },
    );
}
