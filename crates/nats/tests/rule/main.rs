//! The log rule against a plain model: a broker that keeps a list, senders that are killed
//! and come back with records still in flight, readers that are killed, and messages that
//! are late, duplicated, overlapping, forged or missing.

mod model;

use proptest::prelude::*;
use shmpipe_nats::log::{
    Copied, LogEnd, LogError, Plan, Reader, Ring, Search, Sessions, Step, plan,
};
use shmpipe_nats::record::{Ending, Kind, Place, Record};

use self::model::{Act, World, act};

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn each_byte_and_each_end_comes_once_and_in_order(
        acts in proptest::collection::vec(act(), 1..80),
    ) {
        let mut world = World::new();
        for act in &acts {
            world.act(act).unwrap();
        }
        world.settle().unwrap();
        world.assert_copied();
        // A reader that was killed at any time reads nothing twice.
        world.restart_reader();
        world.settle().unwrap();
        world.assert_copied();
    }

    #[test]
    fn a_missing_record_is_never_a_silent_gap(
        acts in proptest::collection::vec(act(), 1..60),
        deleted in proptest::collection::vec(any::<u8>(), 1..3),
    ) {
        let mut world = World::new();
        for act in &acts {
            world.act(act).unwrap();
        }
        world.publish(u8::MAX, 3);
        world.deliver(u8::MAX);
        let valid = world.valid();
        for which in deleted {
            world.act(&Act::Delete(which)).unwrap();
        }
        // `read` asserts that bytes are adjacent. The rest is read, or an error says why not.
        let (log, read) = (world.log.clone(), world.read);
        for &(sequence, _) in &log {
            if sequence > world.read && world.read(1).is_err() {
                return Ok(());
            }
        }
        // The last record that counted, and is there, was read.
        let last = log.iter().rfind(|(sequence, _)| *sequence > read && valid.contains(sequence));
        if let Some((_, last)) = last {
            let (copied, end) = (world.reader.source().unwrap(), last.end().unwrap());
            let is_there = copied.at.stream >= end.stream && copied.at.position >= end.position;
            prop_assert!(copied.nonce > last.nonce || copied.nonce == last.nonce && is_there);
        }
    }

    /// Records of the session that owns the log, at any place: what a forger writes who
    /// has read the log.
    #[test]
    fn a_forger_in_the_session_adds_no_gap(
        acts in proptest::collection::vec(act(), 1..40),
        forged in proptest::collection::vec((0..80u64, 0..4u64, 1..20u64, any::<bool>()), 1..5),
    ) {
        let mut world = World::new();
        for act in &acts {
            world.act(act).unwrap();
        }
        let Some(session) = world.sender.as_ref().map(|sender| sender.session) else {
            return Ok(());
        };
        for (position, stream, len, ends) in forged {
            world.append(Record {
                kind: if ends { Kind::End(Ending::Finished) } else { Kind::Data },
                nonce: world.source.nonce,
                session,
                at: Place { stream, position },
                len: if ends { 0 } else { len },
            });
        }
        let before = world.reader;
        match world.read(u8::MAX) {
            Ok(()) => {}
            // An error changes nothing, so the next reader finds it, too.
            Err(error) => {
                let after = world.reader;
                prop_assert!(world.read(1) == Err(error), "{before:?} {after:?}");
            }
        }
    }

    #[test]
    fn the_plan_never_skips_a_byte(
        head in 0..50u64, len in 0..50u64, streams in 0..3u64, more in 0..3u64,
        at in 0..120u64, stream in 0..8u64, same in any::<bool>(), begins in any::<bool>(),
    ) {
        let ring = Ring {
            nonce: 7,
            head: Place { stream: streams, position: head },
            tail: Place { stream: streams + more, position: head + len },
        };
        let end = LogEnd {
            nonce: if same { 7 } else { 8 },
            at: Place { stream, position: at },
            session: 3,
        };
        match plan(Some(end), &ring, begins) {
            Ok(Plan::Continue(to)) => {
                prop_assert_eq!(to, end.at);
                prop_assert!(same && (head..=head + len).contains(&at));
                prop_assert!((streams..=streams + more).contains(&stream));
            }
            Ok(Plan::Begin(from)) => {
                prop_assert_eq!(from, ring.head);
                prop_assert!(!same || begins);
            }
            Err(LogError::LostBytes { from, to }) => prop_assert!((from, to) == (at, head) && at < head),
            Err(LogError::LostEnds { from, to }) => {
                prop_assert!((from, to) == (stream, streams) && stream < streams);
            }
            Err(error) => {
                let contradicts = matches!(error, LogError::Contradiction { .. });
                let ahead = at > head + len || stream > streams + more;
                prop_assert!(contradicts && ahead);
            }
        }
    }
}

fn record(kind: Kind, session: u64, position: u64, len: u64) -> Record {
    Record {
        kind,
        nonce: 1,
        session,
        at: Place {
            stream: 0,
            position,
        },
        len,
    }
}

/// The window of a sender that was superseded lands behind the claim: each record expects
/// the right sequence, and only the session tells.
#[test]
fn a_late_window_is_void_although_its_sequences_fit() {
    let mut sessions = Sessions::default();
    assert!(sessions.admit(1, &record(Kind::Begin, 0, 0, 0)));
    assert!(sessions.admit(2, &record(Kind::Data, 1, 0, 5)));
    assert!(sessions.admit(3, &record(Kind::Claim, 0, 5, 0)));
    assert!(!sessions.admit(4, &record(Kind::Data, 1, 10, 5)));
    assert!(sessions.admit(5, &record(Kind::Data, 3, 5, 5)));
}

/// Found by reading: the records of that session were void, and so were never missed.
#[test]
fn a_claim_that_is_missing_is_named() {
    let begin = record(Kind::Begin, 0, 0, 0);
    let log = [
        (1, begin),
        (2, record(Kind::Data, 1, 0, 5)),
        (4, record(Kind::Data, 3, 5, 5)),
    ];
    let lost = LogError::LostClaim { session: 3 };
    let mut reader = Reader::new(None);
    let steps: Vec<_> = log
        .iter()
        .map(|(sequence, record)| reader.read(*sequence, record, false))
        .collect();
    assert_eq!(steps[1], Ok(Step::Append { skip: 0 }));
    assert_eq!(steps[2], Err(lost));
    assert_eq!(Search::new(1, &begin).look(4, &log[2].1), Err(lost));
    // A session that is yet to come is a forger's, also at the start of the log.
    let forged = record(Kind::Data, 5, 5, 5);
    assert_eq!(reader.read(4, &forged, false), Ok(Step::Nothing));
    assert_eq!(Search::new(1, &begin).look(4, &forged), Ok(None));
    assert!(!Sessions::default().admit(4, &forged));
    // Told to accept the loss, a reader begins at that record.
    reader.forget();
    assert!(matches!(
        reader.read(4, &log[2].1, true),
        Ok(Step::Begin { .. })
    ));
    assert_eq!(
        reader.read(4, &log[2].1, true),
        Ok(Step::Append { skip: 0 })
    );
    assert_eq!(
        reader.read(5, &record(Kind::Data, 3, 10, 5), false),
        Ok(Step::Append { skip: 0 })
    );
}

#[test]
fn a_wiped_log_is_told_from_a_new_ring() {
    let place = |position| Place {
        stream: 0,
        position,
    };
    let ring = |head| Ring {
        nonce: 1,
        head: place(head),
        tail: place(100),
    };
    assert_eq!(plan(None, &ring(0), false), Ok(Plan::Begin(place(0))));
    let lost = LogError::LostBytes { from: 0, to: 10 };
    assert_eq!(plan(None, &ring(10), false), Err(lost));
    assert_eq!(lost.to_string(), "lost bytes 0 to 10");
    assert_eq!(plan(None, &ring(10), true), Ok(Plan::Begin(place(10))));
}

#[test]
fn a_reader_behind_a_new_beginning_names_what_it_misses() {
    let copied = |position| {
        let at = Place {
            stream: 0,
            position,
        };
        Reader::new(Some(Copied {
            nonce: 1,
            at,
            began: 0,
        }))
    };
    let begin = record(Kind::Begin, 0, 10, 0);
    assert_eq!(copied(10).read(1, &begin, false), Ok(Step::Nothing));
    assert_eq!(copied(12).read(1, &begin, false), Ok(Step::Nothing));
    let lost = LogError::LostBytes { from: 4, to: 10 };
    assert_eq!(copied(4).read(1, &begin, false), Err(lost));
}

#[test]
fn a_reader_without_a_copy_does_not_begin_in_the_middle() {
    let data = record(Kind::Data, 5, 10, 3);
    let trimmed = LogError::Trimmed {
        nonce: 1,
        position: 10,
    };
    assert_eq!(Reader::new(None).read(9, &data, false), Err(trimmed));
    let mut joins = Reader::new(None);
    assert!(matches!(
        joins.read(9, &data, true),
        Ok(Step::Begin { nonce: 1, .. })
    ));
    assert_eq!(joins.read(9, &data, true), Ok(Step::Append { skip: 0 }));
}
