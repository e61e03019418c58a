//! The log rule against a plain model: a broker that keeps a list, senders that are killed
//! and come back with records still in flight, readers that are killed, and messages that
//! are late, duplicated, overlapping, forged or missing.

use std::collections::VecDeque;

use proptest::prelude::*;
use shmpipe_nats::log::{
    Copied, LogEnd, LogError, Plan, Reader, Ring, Search, Sessions, Step, plan,
};
use shmpipe_nats::record::{Ending, Kind, Place, Record};

/// What a source ring got, and has released.
#[derive(Clone, Debug)]
struct Source {
    nonce: u64,
    /// Ends by stream, and their positions.
    ends: Vec<(u64, Ending)>,
    tail: u64,
    head: Place,
}

impl Source {
    fn new(nonce: u64) -> Source {
        Source {
            nonce,
            ends: Vec::new(),
            tail: 0,
            head: Place::START,
        }
    }

    fn ring(&self) -> Ring {
        Ring {
            nonce: self.nonce,
            head: self.head,
            tail: Place {
                stream: self.ends.len() as u64,
                position: self.tail,
            },
        }
    }

    /// The next record from this place on, of at most `most` bytes.
    fn next(&self, at: Place, most: u64, session: u64) -> Option<Record> {
        let end = self.ends.get(at.stream as usize);
        let until = end.map_or(self.tail, |&(position, _)| position);
        let record = |kind, len| Record {
            kind,
            nonce: self.nonce,
            session,
            at,
            len,
        };
        match (until - at.position, end) {
            (0, Some(&(_, ending))) => Some(record(Kind::End(ending), 0)),
            (0, None) => None,
            (left, _) => Some(record(Kind::Data, left.min(most))),
        }
    }
}

/// A message on its way: the record, and the last sequence that its sender expects.
type Sent = (Record, u64);

#[derive(Clone, Debug)]
struct Sender {
    session: u64,
    /// What it publishes next.
    at: Place,
    expects: u64,
}

/// What was read of a ring: its nonce, its ends, and the position behind the last byte.
type Got = (u64, Vec<(u64, Ending)>, u64);

#[derive(Debug)]
struct World {
    source: Source,
    sender: Option<Sender>,
    /// Under way from this sender, and from those that were killed.
    fresh: VecDeque<Sent>,
    late: VecDeque<Sent>,
    log: Vec<(u64, Record)>,
    last: u64,
    /// What the reader has: its copy, the sequence that it has read, and what it read of
    /// each ring.
    reader: Reader,
    read: u64,
    applied: u64,
    got: Vec<Got>,
}

#[derive(Clone, Debug)]
enum Act {
    Write(u64),
    End(Ending),
    Publish(u8, u64),
    Deliver(u8),
    DeliverLate(u8),
    Again(u8),
    Forge(u8, u64),
    KillSender,
    NewRing,
    Read(u8),
    KillReader,
    Trim,
    Delete(u8),
}

fn act() -> impl Strategy<Value = Act> {
    let ending = prop_oneof![
        Just(Ending::Finished),
        Just(Ending::Aborted),
        Just(Ending::Died)
    ];
    prop_oneof![
        4 => (1..40u64).prop_map(Act::Write),
        1 => ending.prop_map(Act::End),
        6 => (1..6u8, 1..16u64).prop_map(|(count, most)| Act::Publish(count, most)),
        6 => (1..6u8).prop_map(Act::Deliver),
        3 => (1..6u8).prop_map(Act::DeliverLate),
        1 => any::<u8>().prop_map(Act::Again),
        1 => (any::<u8>(), 0..50u64).prop_map(|(which, at)| Act::Forge(which, at)),
        2 => Just(Act::KillSender),
        1 => Just(Act::NewRing),
        5 => (1..9u8).prop_map(Act::Read),
        2 => Just(Act::KillReader),
        1 => Just(Act::Trim),
    ]
}

impl World {
    fn new() -> World {
        World {
            source: Source::new(1),
            sender: None,
            fresh: VecDeque::new(),
            late: VecDeque::new(),
            log: Vec::new(),
            last: 0,
            reader: Reader::new(None),
            read: 0,
            applied: 0,
            got: Vec::new(),
        }
    }

    /// The broker's part: it takes a message whose sender knows the last sequence.
    fn take(&mut self, (record, expects): Sent) -> bool {
        if expects != self.last {
            return false;
        }
        self.append(record);
        true
    }

    fn append(&mut self, record: Record) {
        self.last += 1;
        self.log.push((self.last, record));
    }

    /// The plain rule: reads all of the log, and remembers every claim.
    fn end_of_log(&self) -> Option<LogEnd> {
        let mut latest =
            self.log
                .first()
                .map(|&(sequence, record)| match record.kind.is_claim() {
                    true => sequence,
                    false => record.session,
                })?;
        let mut end = None;
        for &(sequence, record) in &self.log {
            if record.kind.is_claim() {
                latest = sequence;
            }
            if record.kind.is_claim() || record.session == latest {
                end = Some(LogEnd {
                    nonce: record.nonce,
                    at: record.end().unwrap(),
                    session: latest,
                });
            }
        }
        end
    }

    /// As a sender finds it: the last claim, then backwards.
    fn search(&self) -> Option<LogEnd> {
        let claim = self
            .log
            .iter()
            .rev()
            .find(|(_, record)| record.kind.is_claim());
        let &(from, anchor) = claim.or(self.log.first())?;
        let search = Search::new(from, &anchor);
        let back = self
            .log
            .iter()
            .rev()
            .take_while(|&&(sequence, _)| sequence >= from);
        back.clone()
            .find_map(|(sequence, record)| search.look(*sequence, record))
    }

    /// Starts a sender; what the last one had in flight is late from now on.
    fn start(&mut self) {
        let fresh = std::mem::take(&mut self.fresh);
        self.late.extend(fresh);
        self.sender = None;
        let end = self.search();
        assert_eq!(end, self.end_of_log());
        let (kind, at) = match plan(end, &self.source.ring(), false).unwrap() {
            Plan::Continue(to) => {
                self.source.head = to;
                (Kind::Claim, to)
            }
            Plan::Begin(at) => (Kind::Begin, at),
        };
        self.append(Record {
            kind,
            nonce: self.source.nonce,
            session: 0,
            at,
            len: 0,
        });
        self.sender = Some(Sender {
            session: self.last,
            at,
            expects: self.last,
        });
    }

    fn publish(&mut self, count: u8, most: u64) {
        if self.sender.is_none() {
            self.start();
        }
        let Some(sender) = &mut self.sender else {
            return;
        };
        for _ in 0..count {
            let Some(record) = self.source.next(sender.at, most, sender.session) else {
                return;
            };
            self.fresh.push_back((record, sender.expects));
            sender.at = record.end().unwrap();
            sender.expects += 1;
        }
    }

    /// Delivers messages of the present sender, and answers it.
    fn deliver(&mut self, count: u8) {
        for _ in 0..count {
            let Some(sent) = self.fresh.pop_front() else {
                return;
            };
            if self.take(sent) {
                self.source.head = sent.0.end().unwrap();
            } else {
                return self.start(); // on any doubt
            }
        }
    }

    fn read(&mut self, count: u8) -> Result<(), LogError> {
        let next: Vec<_> = self
            .log
            .iter()
            .filter(|(sequence, _)| *sequence > self.read)
            .collect();
        let next: Vec<_> = next.into_iter().take(count.into()).copied().collect();
        for (sequence, record) in next {
            loop {
                let joins = false;
                match self.reader.read(sequence, &record, joins)? {
                    Step::Nothing => {}
                    Step::Begin { nonce, at } => {
                        self.got.push((nonce, Vec::new(), at.position));
                        if !record.kind.is_claim() {
                            continue;
                        }
                    }
                    Step::Append { skip } => {
                        let got = self.got.last_mut().unwrap();
                        assert_eq!(
                            record.at.position + skip as u64,
                            got.2,
                            "a byte twice, or a gap"
                        );
                        got.2 = record.end().unwrap().position;
                    }
                    Step::End(ending) => {
                        let got = self.got.last_mut().unwrap();
                        assert_eq!(record.at.position, got.2);
                        got.1.push((got.2, ending));
                    }
                    Step::Lost => {}
                }
                break;
            }
            self.read = sequence;
            if self.reader.counts(&record) {
                self.applied = sequence;
            }
        }
        Ok(())
    }

    fn restart_reader(&mut self) {
        self.reader = Reader::new(self.reader.source());
        self.read = 0;
    }

    fn act(&mut self, act: &Act) -> Result<(), LogError> {
        match *act {
            Act::Write(len) => self.source.tail += len,
            Act::End(ending) => self.source.ends.push((self.source.tail, ending)),
            Act::Publish(count, most) => self.publish(count, most),
            Act::Deliver(count) => self.deliver(count),
            Act::DeliverLate(count) => {
                for _ in 0..count {
                    let Some(sent) = self.late.pop_front() else {
                        break;
                    };
                    self.take(sent);
                }
            }
            // A message that was delivered comes again: by a network, or a proxy.
            Act::Again(which) => {
                if !self.log.is_empty() {
                    let (sequence, record) = self.log[which as usize % self.log.len()];
                    self.take((record, sequence - 1));
                }
            }
            // A message of no sender, which expects nothing. It cannot know the session.
            Act::Forge(which, position) => {
                if !self.log.is_empty() {
                    let (_, mut record) = self.log[which as usize % self.log.len()];
                    record.kind = Kind::Data;
                    record.at.position = position;
                    record.session = u64::MAX - u64::from(which);
                    record.len = 7;
                    self.append(record);
                }
            }
            Act::KillSender => self.start(),
            Act::NewRing => {
                let nonce = self.source.nonce + 1;
                self.source = Source::new(nonce);
                self.start();
            }
            Act::Read(count) => self.read(count)?,
            Act::KillReader => self.restart_reader(),
            // As a receiver trims: the last record that was applied stays.
            Act::Trim => {
                let applied = self.applied;
                self.log.retain(|(sequence, _)| *sequence >= applied);
            }
            Act::Delete(which) => {
                if !self.log.is_empty() {
                    self.log.remove(which as usize % self.log.len());
                }
            }
        }
        Ok(())
    }

    /// Lets everything arrive, and reads all of it.
    fn settle(&mut self) -> Result<(), LogError> {
        for _ in 0..10_000 {
            self.publish(u8::MAX, 16);
            let before = self.source.head;
            self.deliver(u8::MAX);
            let done = self.sender.as_ref().is_some_and(|sender| {
                self.source.next(sender.at, 1, 0).is_none() && self.fresh.is_empty()
            });
            if done {
                break;
            }
            assert!(self.source.head != before || !self.fresh.is_empty() || self.sender.is_some());
        }
        while self.log.iter().any(|(sequence, _)| *sequence > self.read) {
            self.read(u8::MAX)?;
        }
        Ok(())
    }

    fn assert_copied(&self) {
        let Some((nonce, ends, position)) = self.got.last() else {
            return;
        };
        assert_eq!(*nonce, self.source.nonce);
        assert_eq!((ends, *position), (&self.source.ends, self.source.tail));
        assert_eq!(
            self.source.head,
            self.source.ring().tail,
            "all is acknowledged"
        );
    }
}

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
        for which in deleted {
            world.act(&Act::Delete(which)).unwrap();
        }
        // `read` asserts that bytes are adjacent. The rest is read, or an error says why not.
        let log: Vec<_> = world.log.clone();
        for (sequence, _) in log {
            if sequence > world.read && world.read(1).is_err() {
                break;
            }
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
