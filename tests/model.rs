//! Random sequences of every call that moves bytes, against a queue of bytes
//! that says what each must give; from positions anywhere in their range.
#![allow(missing_docs)]

mod common;

use std::collections::VecDeque;
use std::io::{IoSlice, IoSliceMut, Read, Write};
use std::time::{Duration, Instant};

use common::{TempPath, byte_at, options, page, poke};
use proptest::collection::vec;
use proptest::prelude::*;
use shmpipe::{Consumer, PeekError, Producer, ReserveError, Stop, TryReadError, TryWriteError};

/// What is done to a ring. Lengths are taken modulo a little more than the
/// capacity, so that some are too long.
#[derive(Clone, Debug)]
enum Call {
    Write(usize),
    WriteParts(Vec<usize>),
    WriteDeadline(usize),
    Reserve(usize, usize),
    ReserveUpTo(usize, usize),
    ReserveDeadline(usize, usize),
    Flush,
    Batch(usize),
    Room(usize),
    Read(usize),
    ReadParts(Vec<usize>),
    ReadExactDeadline(usize),
    Peek(usize, usize),
    PeekUpTo(usize, usize),
    PeekDeadline(usize, usize),
    Available,
}

fn call() -> impl Strategy<Value = Call> {
    let len = || prop_oneof![3 => 0..100_usize, 2 => 0..5000_usize, 1 => Just(4096_usize)];
    prop_oneof![
        len().prop_map(Call::Write),
        vec(len(), 0..5).prop_map(Call::WriteParts),
        len().prop_map(Call::WriteDeadline),
        (len(), len()).prop_map(|(len, part)| Call::Reserve(len, part)),
        (len(), len()).prop_map(|(len, part)| Call::ReserveUpTo(len, part)),
        (len(), len()).prop_map(|(len, part)| Call::ReserveDeadline(len, part)),
        Just(Call::Flush),
        prop_oneof![Just(0), 0..6000_usize].prop_map(Call::Batch),
        len().prop_map(Call::Room),
        len().prop_map(Call::Read),
        vec(len(), 0..5).prop_map(Call::ReadParts),
        len().prop_map(Call::ReadExactDeadline),
        (len(), len()).prop_map(|(len, part)| Call::Peek(len, part)),
        (len(), len()).prop_map(|(len, part)| Call::PeekUpTo(len, part)),
        (len(), len()).prop_map(|(len, part)| Call::PeekDeadline(len, part)),
        Just(Call::Available),
    ]
}

/// Where positions may stand: near zero, a lap, 2^32 and the end of the range.
fn start() -> impl Strategy<Value = u64> {
    let marks = [0, 4096, 1 << 32, 1 << 63, u64::MAX];
    (prop::sample::select(marks.to_vec()), 0..10_000_u64)
        .prop_map(|(mark, before)| mark.wrapping_sub(before))
}

/// A ring and what it must hold.
struct Modelled {
    producer: Producer,
    consumer: Consumer,
    /// What the consumer can see.
    published: VecDeque<u8>,
    /// What a batch holds back.
    held: VecDeque<u8>,
    batch: usize,
    start: u64,
    written: u64,
    read: u64,
}

impl Modelled {
    fn new(path: &TempPath, start: u64) -> Modelled {
        let mut options = options();
        options.persistent(true).capacity(4096);
        drop(options.producer(path).unwrap());
        let id = path.segment().unwrap();
        poke(id, 256, &start.to_ne_bytes()); // tail; see tests/layout.rs
        poke(id, 512, &start.to_ne_bytes()); // head
        Modelled {
            producer: options.producer(path).unwrap(),
            consumer: options.consumer(path).unwrap(),
            published: VecDeque::new(),
            held: VecDeque::new(),
            batch: 0,
            start,
            written: 0,
            read: 0,
        }
    }

    fn room(&self) -> usize {
        self.producer.capacity() - self.published.len() - self.held.len()
    }

    /// The next bytes of the stream.
    fn next(&self, len: usize) -> Vec<u8> {
        let positions = self.written..self.written + len as u64;
        positions.map(|position| byte_at(7, position)).collect()
    }

    fn publish(&mut self) {
        self.published.append(&mut self.held);
    }

    /// `len` of `asked` bytes went in, by a write.
    fn wrote(&mut self, len: usize, asked: usize) {
        self.held.extend(self.next(len));
        self.written += len as u64;
        if len < asked || (len > 0 && self.held.len() >= self.batch) {
            self.publish();
        }
    }

    /// `len` bytes went in, by a grant.
    fn committed(&mut self, len: usize) {
        self.published.extend(self.next(len));
        self.written += len as u64;
    }

    #[track_caller]
    fn took(&mut self, bytes: &[u8]) {
        let wanted: Vec<u8> = self.published.drain(..bytes.len()).collect();
        assert!(bytes == wanted, "other bytes than were written");
        self.read += bytes.len() as u64;
    }

    fn apply(&mut self, call: Call) {
        let passed = Instant::now();
        match call {
            Call::Write(len) => {
                let fits = len.min(self.room());
                let result = self.producer.try_write(&self.next(len));
                if fits == 0 && len > 0 {
                    assert_eq!(result, Err(TryWriteError::Full));
                } else {
                    assert_eq!(result, Ok(fits));
                }
                self.wrote(fits, len);
            }
            Call::WriteParts(parts) => {
                let len = parts.iter().sum::<usize>();
                let fits = len.min(self.room());
                let bytes = self.next(len);
                let mut rest = &bytes[..];
                let mut slices = Vec::new();
                for part in parts {
                    let (first, others) = rest.split_at(part);
                    slices.push(IoSlice::new(first));
                    rest = others;
                }
                if fits > 0 || len == 0 {
                    let written = self.producer.write_vectored(&slices).unwrap();
                    assert_eq!(written, fits);
                    self.wrote(fits, len);
                }
            }
            Call::WriteDeadline(len) => {
                let fits = len.min(self.room());
                let result = self.producer.write_deadline(&self.next(len), passed);
                if fits < len {
                    let partial = result.unwrap_err();
                    assert_eq!((partial.moved, partial.stop), (fits, Stop::TimedOut));
                } else {
                    result.unwrap();
                }
                self.wrote(fits, len);
            }
            Call::Reserve(len, part) => self.reserve(len, part, None),
            Call::ReserveDeadline(len, part) => self.reserve(len, part, Some(passed)),
            Call::ReserveUpTo(most, part) => {
                let room = self.room().min(most);
                let bytes = self.next(room);
                self.publish();
                match self.producer.reserve_up_to(most) {
                    Ok(mut grant) => {
                        assert_eq!(grant.len(), room);
                        assert!(room > 0 || most == 0);
                        grant.write_at(0, &bytes);
                        let part = part.min(room);
                        grant.commit(part);
                        self.committed(part);
                    }
                    Err(error) => {
                        assert_eq!(error, ReserveError::Full { room: 0 });
                        assert_eq!(room, 0);
                    }
                }
            }
            Call::Flush => {
                self.producer.flush().unwrap();
                self.publish();
            }
            Call::Batch(bytes) => {
                self.producer.set_batch(bytes);
                assert_eq!(self.producer.batch(), bytes);
                self.batch = bytes;
                if self.held.len() >= bytes {
                    self.publish();
                }
            }
            Call::Room(wanted) => {
                let room = self.producer.room(wanted).unwrap();
                assert!(room <= self.room() && room >= wanted.min(self.room()));
            }
            Call::Read(len) => {
                let mut bytes = vec![0; len];
                match self.consumer.try_read(&mut bytes) {
                    Ok(read) => {
                        assert_eq!(read, len.min(self.published.len()));
                        self.took(&bytes[..read]);
                    }
                    Err(error) => {
                        assert_eq!(error, TryReadError::Empty);
                        assert!(self.published.is_empty() && len > 0);
                    }
                }
            }
            Call::ReadParts(parts) => {
                let len = parts.iter().sum::<usize>();
                if self.published.is_empty() && len > 0 {
                    return; // would wait
                }
                let mut bytes = vec![0; len];
                let mut rest = &mut bytes[..];
                let mut slices = Vec::new();
                for part in parts {
                    let (first, others) = rest.split_at_mut(part);
                    slices.push(IoSliceMut::new(first));
                    rest = others;
                }
                let read = self.consumer.read_vectored(&mut slices).unwrap();
                assert_eq!(read, len.min(self.published.len()));
                self.took(&bytes[..read]);
            }
            Call::ReadExactDeadline(len) => {
                let mut bytes = vec![0; len];
                let there = len.min(self.published.len());
                match self.consumer.read_exact_deadline(&mut bytes, passed) {
                    Ok(()) => assert_eq!(there, len),
                    Err(partial) => {
                        assert!(there < len);
                        assert_eq!((partial.moved, partial.stop), (there, Stop::TimedOut));
                    }
                }
                self.took(&bytes[..there]);
            }
            Call::Peek(len, part) => self.peek(len, part, None),
            Call::PeekDeadline(len, part) => self.peek(len, part, Some(passed)),
            Call::PeekUpTo(most, part) => {
                let there = self.published.len().min(most);
                match self.consumer.peek_up_to(most) {
                    Ok(grant) => {
                        assert_eq!(grant.len(), there);
                        let mut bytes = vec![0; there];
                        grant.read_at(0, &mut bytes);
                        let part = part.min(there);
                        grant.consume(part);
                        self.took(&bytes[..part]);
                    }
                    Err(error) => {
                        assert_eq!(error, PeekError::Empty { available: 0 });
                        assert!(there == 0 && most > 0);
                    }
                }
            }
            Call::Available => {
                assert_eq!(self.consumer.available(), Ok(self.published.len()));
            }
        }
        let position = |count: u64| self.start.wrapping_add(count);
        assert_eq!(self.producer.position(), position(self.written));
        assert_eq!(self.consumer.position(), position(self.read));
    }

    fn reserve(&mut self, len: usize, part: usize, deadline: Option<Instant>) {
        let (room, capacity) = (self.room(), self.producer.capacity());
        let bytes = self.next(len);
        self.publish();
        let result = match deadline {
            None => self.producer.reserve(len),
            Some(deadline) => self.producer.reserve_deadline(len, deadline),
        };
        match result {
            Ok(mut grant) => {
                assert!(len <= room && grant.len() == len);
                grant.write_at(0, &bytes);
                let part = part.min(len);
                grant.commit(part);
                self.committed(part);
            }
            Err(error) => {
                assert!(len > room);
                let expected = match deadline {
                    _ if len > capacity => ReserveError::TooLong { capacity },
                    None => ReserveError::Full { room },
                    Some(_) => ReserveError::TimedOut { room },
                };
                assert_eq!(error, expected);
            }
        }
    }

    fn peek(&mut self, len: usize, part: usize, deadline: Option<Instant>) {
        let (available, capacity) = (self.published.len(), self.consumer.capacity());
        let result = match deadline {
            None => self.consumer.peek(len),
            Some(deadline) => self.consumer.peek_deadline(len, deadline),
        };
        match result {
            Ok(grant) => {
                assert!(len <= available && grant.len() == len);
                let part = part.min(len);
                let mut bytes = vec![0; part];
                grant.read_at(0, &mut bytes);
                grant.consume(part);
                self.took(&bytes);
            }
            Err(error) => {
                assert!(len > available);
                let expected = match deadline {
                    _ if len > capacity => PeekError::TooLong { capacity },
                    None => PeekError::Empty { available },
                    Some(_) => PeekError::TimedOut { available },
                };
                assert_eq!(error, expected);
            }
        }
    }

    /// The rest of the stream, and its end.
    fn finish(mut self) {
        self.publish();
        self.producer.close().unwrap();
        self.consumer.set_timeout(Some(Duration::from_secs(10)));
        let mut bytes = Vec::new();
        self.consumer.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes.len(), self.published.len());
        self.took(&bytes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_call_does_to_a_ring_what_it_does_to_a_queue(
        start in start(),
        calls in vec(call(), 1..120),
    ) {
        prop_assume!(page() == 4096);
        let path = TempPath::new();
        let mut modelled = Modelled::new(&path, start);
        for call in calls {
            modelled.apply(call);
        }
        modelled.finish();
    }
}
