//! Events for `tracing`: which calls report what, and how often.
//!
//! Each test runs [`alone`]. `tracing` keeps for each place of an event whether anybody wants it.
//! While there is one subscriber, it asks that of the thread that comes by the place first. A thread
//! of another test, which has no subscriber, would say no, and this test would get no such event.
#![cfg(feature = "tracing")]

use std::fmt::{Debug, Write as _};
use std::io::{Read, Write};
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::common::offsets::TAIL;
use crate::common::{
    Fork, Segment, TempPath, alone, is_alone, kill_self, options, page, poke, remove_unused, split,
};
use shmpipe::{Broken, Consumer};

/// Collects each event as a line: level, text and fields.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {}={value:?}", field.name()).unwrap();
    }
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "shmpipe"
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        unreachable!("there are no spans")
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// Runs `work` with a subscriber for the events of this thread.
#[track_caller]
fn with_subscriber<T>(subscriber: impl Subscriber + Send + Sync, work: impl FnOnce() -> T) -> T {
    assert!(is_alone(), "events may be lost beside other tests");
    tracing::subscriber::with_default(subscriber, work)
}

/// The events of `work`, in this thread.
#[track_caller]
fn events(work: impl FnOnce()) -> Vec<String> {
    let lines = Lines::default();
    with_subscriber(lines.clone(), work);
    std::mem::take(&mut *lines.0.lock().unwrap())
}

#[track_caller]
fn assert_events(found: &[String], expected: &[&[&str]]) {
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (line, parts) in found.iter().zip(expected) {
        assert!(parts.iter().all(|part| line.contains(part)), "{line}");
    }
}

#[test]
fn making_and_taking_a_ring_is_reported_and_moving_bytes_is_not() {
    alone(
        "events::making_and_taking_a_ring_is_reported_and_moving_bytes_is_not",
        || {
            let mut ends = None;
            let found = events(|| ends = Some(split(page())));
            let (mut producer, mut consumer) = ends.unwrap();
            let segment = format!("segment={}", producer.id().unwrap());
            assert_events(
                &found,
                &[
                    &[
                        "DEBUG",
                        "made a ring",
                        &segment,
                        &format!("capacity={}", page()),
                    ],
                    &["DEBUG", "took a role", &segment, "role=producer"],
                    &["DEBUG", "took a role", &segment, "role=consumer"],
                    &["DEBUG", "both ends are there", &segment],
                ],
            );
            let found = events(|| {
                for _ in 0..100 {
                    producer.write_all(&[7; 1000]).unwrap();
                    consumer.read_exact(&mut [0; 1000]).unwrap();
                    producer.check_peer().unwrap();
                }
                producer.close().unwrap();
                assert_eq!(consumer.read(&mut [0]).unwrap(), 0);
            });
            assert_events(&found, &[]);
        },
    );
}

/// Panics at the event with this text.
struct Panics(&'static str);

impl Subscriber for Panics {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "shmpipe"
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        unreachable!("there are no spans")
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        assert!(!line.0.contains(self.0), "{}", self.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// Runs `work` with a subscriber that panics at the event `text`, and expects the panic.
#[track_caller]
fn panics_at<T>(text: &'static str, work: impl FnOnce() -> T) {
    let work = || drop(with_subscriber(Panics(text), work));
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
    let message = caught.expect_err("no event").downcast::<String>().unwrap();
    assert_eq!(*message, text);
}

/// Found in review: the role stayed taken for as long as the process lived, and no handle had it.
#[test]
fn a_role_is_given_up_if_a_subscriber_panics() {
    alone("events::a_role_is_given_up_if_a_subscriber_panics", || {
        for text in ["took a role", "both ends are there", "opened a ring"] {
            let path = TempPath::new();
            let mut persistent = options();
            persistent.persistent(true);
            let consumer = persistent.open_consumer(&path).unwrap();
            panics_at(text, || persistent.open_producer(&path).unwrap());
            let producer = persistent.open_producer(&path).unwrap();
            drop(consumer);
            panics_at(text, || persistent.open_consumer(&path).unwrap());
            persistent.open_consumer(&path).unwrap();
            drop(producer);
            remove_unused(|| persistent.remove(&path));
        }
    });
}

/// The same for a ring that goes with its ends: the other side learns of it, and the path is free.
#[test]
fn the_other_side_is_told_if_a_subscriber_panics() {
    alone(
        "events::the_other_side_is_told_if_a_subscriber_panics",
        || {
            for text in ["took a role", "both ends are there"] {
                let path = TempPath::new();
                let mut named = options();
                named.wait_for_peer(false);
                let mut consumer = named.open_consumer(&path).unwrap();
                panics_at(text, || named.open_producer(&path).unwrap());
                let error = consumer.read(&mut [0]).unwrap_err();
                assert_eq!(Broken::find(&error), Some(&Broken::ProducerAborted));
                drop(consumer);
                if text == "took a role" {
                    panics_at(text, || named.open_consumer(&path).unwrap()); // the first to come
                }
                drop(named.open_consumer(&path).unwrap());
            }
            // A consumer that waits for its producer.
            let path = TempPath::new();
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    panics_at("both ends are there", || {
                        options().open_consumer(&path).unwrap()
                    });
                });
                let mut producer = options().open_producer(&path).unwrap();
                let error = loop {
                    if let Err(error) = producer.write_all(&[7; 100]) {
                        break error;
                    }
                };
                assert_eq!(Broken::find(&error), Some(&Broken::ConsumerClosed));
            });
        },
    );
}

#[test]
fn opening_by_path_is_reported_with_the_path() {
    alone("events::opening_by_path_is_reported_with_the_path", || {
        let path = TempPath::new();
        let mut options = options();
        options.wait_for_peer(false);
        let found = events(|| {
            let _producer = options.open_producer(&path).unwrap();
            drop(options.open_consumer(&path).unwrap());
        });
        let place = |role: &str| format!("place={} (as {role})", path.display());
        assert_events(
            &found,
            &[
                &["made a ring"],
                &["took a role", "role=producer"],
                &["INFO", "opened a ring", &place("producer")],
                &["took a role", "role=consumer"],
                &["both ends are there"],
                &["INFO", "opened a ring", &place("consumer")],
            ],
        );
        // What fails is an error, not an event.
        let found = events(|| drop(options.clone().capacity(0).open_producer(&path)));
        assert_events(&found, &[]);
    });
}

#[test]
fn a_death_is_reported_once() {
    alone("events::a_death_is_reported_once", || {
        let mut ring = Some(options().capacity(page()).create_anonymous().unwrap());
        let mut child = Fork::new(|| {
            let _producer = ring.take().unwrap().into_producer().unwrap();
            kill_self();
        });
        child.wait();
        let mut consumer: Consumer = ring.take().unwrap().into_consumer().unwrap();
        let found = events(|| {
            for _ in 0..3 {
                assert!(matches!(consumer.check_peer(), Err(Broken::Died { .. })));
            }
            for _ in 0..3 {
                consumer.read(&mut [0]).unwrap_err();
            }
        });
        let pid = format!("process {}", child.pid());
        assert_events(
            &found,
            &[&["WARN", "the peer is gone", "role=consumer", &pid]],
        );
    });
}

#[test]
fn corruption_is_reported_once() {
    alone("events::corruption_is_reported_once", || {
        let (producer, mut consumer) = split(page());
        poke(producer.id().unwrap(), TAIL, &(1_u64 << 40).to_le_bytes());
        let found = events(|| {
            for _ in 0..3 {
                consumer.read(&mut [0]).unwrap_err();
            }
        });
        assert_events(
            &found,
            &[&["ERROR", "the ring is corrupt", "role=consumer"]],
        );
    });
}

#[test]
fn a_leftover_that_is_removed_is_reported() {
    alone("events::a_leftover_that_is_removed_is_reported", || {
        let path = TempPath::new();
        let mut options = options();
        options.wait_for_peer(false);
        let mut child = Fork::new(|| {
            let _producer = options.open_producer(&path).unwrap();
            kill_self();
        });
        child.wait();
        let found = events(|| drop(options.open_consumer(&path).unwrap()));
        assert_events(
            &found,
            &[
                &["INFO", "removed a leftover", "its processes died"],
                &["made a ring"],
                &["took a role"],
                &["opened a ring"],
            ],
        );
        // One that was never finished, too.
        let _segment = Segment::by_the_dead(path.key(), 2 * page(), 0o600);
        let found = events(|| drop(options.open_consumer(&path).unwrap()));
        assert!(
            found[0].contains("removed a leftover") && found[0].contains("its maker died"),
            "{found:?}"
        );
    });
}
