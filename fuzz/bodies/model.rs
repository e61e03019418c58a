//! A ring beside a queue of bytes, which says what each call must give.

use std::collections::VecDeque;
use std::io::{IoSlice, IoSliceMut, Read, Write};
use std::time::Instant;

use shmpipe::{
    Broken, Consumer, PeekError, Producer, ReserveError, Stop, TryReadError, TryWriteError,
    WaitPolicy,
};

use super::tape::Tape;

/// What is done to a ring.
#[derive(Clone, Debug)]
pub(crate) enum Call {
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
    /// A read that may wait.
    Receive(usize),
    /// Whether the consumer spins: one that does may be sent echoes.
    Spin(bool),
    /// The producer leaves, the rest is read, another producer comes.
    NewProducer(Parting),
    /// The consumer leaves, the producer learns of it, another consumer comes.
    NewConsumer,
}

/// How a producer leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parting {
    Close,
    Abort,
}

impl Call {
    /// The next call on the tape. Lengths go a little beyond `most`.
    pub(crate) fn read(tape: &mut Tape<'_>, most: usize) -> Option<Call> {
        let most = most + 3;
        fn pair(tape: &mut Tape<'_>, most: usize) -> Option<(usize, usize)> {
            Some((tape.len(most)?, tape.len(most)?))
        }
        fn parts(tape: &mut Tape<'_>, most: usize) -> Option<Vec<usize>> {
            let count = tape.byte()? % 5;
            (0..count).map(|_| tape.len(most)).collect()
        }
        Some(match tape.byte()? % 22 {
            0 => Call::Write(tape.len(most)?),
            1 => Call::WriteParts(parts(tape, most)?),
            2 => Call::WriteDeadline(tape.len(most)?),
            3 => pair(tape, most).map(|(len, part)| Call::Reserve(len, part))?,
            4 => pair(tape, most).map(|(len, part)| Call::ReserveUpTo(len, part))?,
            5 => pair(tape, most).map(|(len, part)| Call::ReserveDeadline(len, part))?,
            6 => Call::Flush,
            7 => Call::Batch(tape.len(most)?),
            8 => Call::Room(tape.len(most)?),
            9 => Call::Read(tape.len(most)?),
            10 => Call::ReadParts(parts(tape, most)?),
            11 => Call::ReadExactDeadline(tape.len(most)?),
            12 => pair(tape, most).map(|(len, part)| Call::Peek(len, part))?,
            13 => pair(tape, most).map(|(len, part)| Call::PeekUpTo(len, part))?,
            14 => pair(tape, most).map(|(len, part)| Call::PeekDeadline(len, part))?,
            15 => Call::Available,
            16 => Call::NewProducer(Parting::Close),
            17 => Call::NewProducer(Parting::Abort),
            18 => Call::NewConsumer,
            19 => Call::Receive(tape.len(most)?),
            20 => Call::Spin(true),
            _ => Call::Spin(false),
        })
    }
}

/// How a consumer waits that spins, or does not.
pub(crate) fn policy(spins: bool) -> WaitPolicy {
    if spins {
        WaitPolicy::Spin
    } else {
        WaitPolicy::Park
    }
}

/// Where the ring is, and whoever left can be followed.
pub(crate) trait Place {
    fn producer(&self) -> Producer;
    fn consumer(&self) -> Consumer;
    /// Whether a grant ends where the ring does.
    const ENDS: bool;
}

/// The byte of the stream at a position: told from its neighbours, and from
/// those a power of two away.
fn byte_at(position: u64) -> u8 {
    (position.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
}

/// A ring and what it must hold.
#[derive(Debug)]
pub(crate) struct Modelled<P> {
    place: P,
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

impl<P: Place> Modelled<P> {
    /// An empty ring, whose positions both are `start`.
    pub(crate) fn new(place: P, start: u64) -> Modelled<P> {
        let (producer, consumer) = (place.producer(), place.consumer());
        assert_eq!((producer.position(), consumer.position()), (start, start));
        Modelled {
            place,
            producer,
            consumer,
            published: VecDeque::new(),
            held: VecDeque::new(),
            batch: 0,
            start,
            written: 0,
            read: 0,
        }
    }

    /// The most that one grant has of `len` bytes from a position on.
    fn in_one_piece(&self, position: u64, len: usize) -> usize {
        let capacity = self.producer.capacity() as u64;
        let to_end = capacity - (position & (capacity - 1));
        if P::ENDS {
            len.min(to_end as usize)
        } else {
            len
        }
    }

    fn room(&self) -> usize {
        self.producer.capacity() - self.published.len() - self.held.len()
    }

    /// The next bytes of the stream.
    fn next(&self, len: usize) -> Vec<u8> {
        let positions = self.written..self.written + len as u64;
        positions.map(byte_at).collect()
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

    pub(crate) fn apply(&mut self, call: Call) {
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
                let result = self.producer.write_all_deadline(&self.next(len), passed);
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
                let room = self.in_one_piece(self.producer.position(), self.room().min(most));
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
                        assert_eq!(error, ReserveError::Full { wanted: 1, room: 0 });
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
            Call::Receive(len) => {
                if self.published.is_empty() && len > 0 {
                    return; // would wait
                }
                let mut bytes = vec![0; len];
                let read = self.consumer.read(&mut bytes).unwrap();
                assert_eq!(read, len.min(self.published.len()));
                self.took(&bytes[..read]);
            }
            Call::Spin(spins) => self.consumer.set_wait_policy(policy(spins)),
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
                let there = self.in_one_piece(self.consumer.position(), there);
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
                        assert_eq!(
                            error,
                            PeekError::Empty {
                                wanted: 1,
                                available: 0
                            }
                        );
                        assert!(there == 0 && most > 0);
                    }
                }
            }
            Call::Available => {
                assert_eq!(self.consumer.available(), Ok(self.published.len()));
            }
            Call::NewProducer(parting) => self.replace_producer(parting),
            Call::NewConsumer => self.replace_consumer(),
        }
        let position = |count: u64| self.start.wrapping_add(count);
        assert_eq!(self.producer.position(), position(self.written));
        assert_eq!(self.consumer.position(), position(self.read));
    }

    fn reserve(&mut self, len: usize, part: usize, deadline: Option<Instant>) {
        let (room, capacity) = (self.room(), self.producer.capacity());
        let contiguous = self.in_one_piece(self.producer.position(), len);
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
                assert!(len > room || contiguous < len);
                let expected = match deadline {
                    _ if len > capacity => ReserveError::TooLong {
                        wanted: len,
                        capacity,
                    },
                    _ if len <= room => ReserveError::Wraps {
                        wanted: len,
                        contiguous,
                    },
                    None => ReserveError::Full { wanted: len, room },
                    Some(_) => ReserveError::TimedOut { wanted: len, room },
                };
                assert_eq!(error, expected);
            }
        }
    }

    fn peek(&mut self, len: usize, part: usize, deadline: Option<Instant>) {
        let (available, capacity) = (self.published.len(), self.consumer.capacity());
        let contiguous = self.in_one_piece(self.consumer.position(), len);
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
                assert!(len > available || contiguous < len);
                let expected = match deadline {
                    _ if len > capacity => PeekError::TooLong {
                        wanted: len,
                        capacity,
                    },
                    _ if len <= available => PeekError::Wraps {
                        wanted: len,
                        contiguous,
                    },
                    None => PeekError::Empty {
                        wanted: len,
                        available,
                    },
                    Some(_) => PeekError::TimedOut {
                        wanted: len,
                        available,
                    },
                };
                assert_eq!(error, expected);
            }
        }
    }

    fn replace_producer(&mut self, parting: Parting) {
        match parting {
            Parting::Close => {
                self.producer.close().unwrap();
                self.publish();
            }
            Parting::Abort => {
                self.producer.abort();
                self.written -= self.held.len() as u64; // was never published
                self.held.clear();
            }
        }
        let closed = TryWriteError::Broken(Broken::Closed);
        assert_eq!(self.producer.try_write(&[0]), Err(closed));
        self.drain(parting);
        self.producer = self.place.producer();
        self.batch = 0;
    }

    /// Everything that is left to read, and how it ends.
    fn drain(&mut self, parting: Parting) {
        let mut bytes = vec![0; self.published.len() + 1];
        if !self.published.is_empty() {
            let read = self.consumer.try_read(&mut bytes).unwrap();
            assert_eq!(read, self.published.len());
            self.took(&bytes[..read]);
        }
        let end = match parting {
            Parting::Close => Ok(0),
            Parting::Abort => Err(TryReadError::Broken(Broken::ProducerAborted)),
        };
        assert_eq!(self.consumer.try_read(&mut bytes), end);
        assert!(self.consumer.is_closed());
    }

    fn replace_consumer(&mut self) {
        self.consumer.close().unwrap();
        let closed = TryReadError::Broken(Broken::Closed);
        assert_eq!(self.consumer.try_read(&mut [0]), Err(closed));
        let closed = TryWriteError::Broken(Broken::ConsumerClosed);
        assert_eq!(self.producer.try_write(&[0]), Err(closed));
        assert!(self.producer.is_closed());
        self.consumer = self.place.consumer();
    }

    /// The rest of the stream, and its end, which a drop is too.
    pub(crate) fn finish(mut self) {
        self.publish();
        drop(self.producer);
        let mut bytes = Vec::new();
        self.consumer.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes.len(), self.published.len());
        assert!(self.published == bytes, "other bytes than were written");
    }
}
