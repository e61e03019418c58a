//! The model: a source ring, its sender, a broker that keeps a list, and a reader.

use std::collections::VecDeque;

use proptest::prelude::*;
use shmpipe_nats::log::{
    LogEnd, LogError, Plan, Reader, Ring, Search, Sessions, Step, is_possible, plan,
};
use shmpipe_nats::record::{Ending, Kind, Place, Record};

/// What a source ring got, and has released.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) nonce: u64,
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
pub(crate) struct Sender {
    pub(crate) session: u64,
    /// What it publishes next.
    at: Place,
    expects: u64,
}

/// What was read of a ring: its nonce, its ends, and the position behind the last byte.
type Got = (u64, Vec<(u64, Ending)>, u64);

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) source: Source,
    pub(crate) sender: Option<Sender>,
    /// Under way from this sender, and from those that were killed.
    fresh: VecDeque<Sent>,
    late: VecDeque<Sent>,
    pub(crate) log: Vec<(u64, Record)>,
    last: u64,
    /// What the reader has: its copy, the sequence that it has read, and what it read of
    /// each ring.
    pub(crate) reader: Reader,
    pub(crate) read: u64,
    applied: u64,
    got: Vec<Got>,
}

#[derive(Clone, Debug)]
pub(crate) enum Act {
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

pub(crate) fn act() -> impl Strategy<Value = Act> {
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
    pub(crate) fn new() -> World {
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

    pub(crate) fn append(&mut self, record: Record) {
        self.last += 1;
        self.log.push((self.last, record));
    }

    /// The plain rule: reads all of the log, and remembers every claim.
    fn end_of_log(&self) -> Option<LogEnd> {
        let possible = |&&(sequence, ref record): &&(u64, Record)| is_possible(sequence, record);
        let first = self.log.iter().find(possible);
        let mut latest = first.map(|&(sequence, record)| match record.kind.is_claim() {
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

    /// The sequences of the records that count.
    pub(crate) fn valid(&self) -> Vec<u64> {
        let mut sessions = Sessions::default();
        let counts = |&&(sequence, ref record): &&(u64, Record)| sessions.admit(sequence, record);
        self.log
            .iter()
            .filter(counts)
            .map(|&(sequence, _)| sequence)
            .collect()
    }

    /// As a sender finds it: the last claim, then backwards.
    fn search(&self) -> Option<LogEnd> {
        let claim = self
            .log
            .iter()
            .rev()
            .find(|(_, record)| record.kind.is_claim());
        let possible = |&&(sequence, ref record): &&(u64, Record)| is_possible(sequence, record);
        let &(from, anchor) = claim.or(self.log.iter().find(possible))?;
        let search = Search::new(from, &anchor);
        let back = self
            .log
            .iter()
            .rev()
            .take_while(|&&(sequence, _)| sequence >= from);
        back.clone()
            .find_map(|(sequence, record)| search.look(*sequence, record).unwrap())
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

    pub(crate) fn publish(&mut self, count: u8, most: u64) {
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
    pub(crate) fn deliver(&mut self, count: u8) {
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

    pub(crate) fn read(&mut self, count: u8) -> Result<(), LogError> {
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

    pub(crate) fn restart_reader(&mut self) {
        self.reader = Reader::new(self.reader.source());
        self.read = 0;
    }

    pub(crate) fn act(&mut self, act: &Act) -> Result<(), LogError> {
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
    pub(crate) fn settle(&mut self) -> Result<(), LogError> {
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

    pub(crate) fn assert_copied(&self) {
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
