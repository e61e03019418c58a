//! A ring beside a queue of bytes with ends in it, which says what each call must give.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::time::Instant;

use shmpipe::{
    Broken, Consumer, NextStreamError, PeekError, Producer, ReserveError, Stop, TryReadError,
    TryWriteError, WaitPolicy,
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
    /// The producer leaves, another producer comes.
    NewProducer(Parting),
    /// The same; the other one would go on with a stream that has no end.
    Resume(Parting),
    /// The consumer leaves, the producer learns of it, another consumer comes.
    NewConsumer,
    /// The same; the consumer acknowledges nothing.
    AbortConsumer,
    /// Acknowledges the end that the consumer is at, if it is at one.
    NextStream,
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
        Some(match tape.byte()? % 26 {
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
            21 => Call::Spin(false),
            22 => Call::NextStream,
            23 => Call::AbortConsumer,
            24 => Call::Resume(Parting::Close),
            _ => Call::Resume(Parting::Abort),
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
    /// The same, of one that resumes.
    fn resuming(&self) -> Producer {
        self.producer()
    }
    fn consumer(&self) -> Consumer;
    /// Whether a grant ends where the ring does.
    const ENDS: bool;
}

/// The byte of the stream at a position: told from its neighbours, and from
/// those a power of two away.
fn byte_at(position: u64) -> u8 {
    (position.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
}

/// So many ends that are not acknowledged leave no place for another producer's.
const MOST_ENDS: usize = 126;

/// A stream, as much of it as is left to read, and its end.
#[derive(Debug, Default)]
struct Stream {
    bytes: VecDeque<u8>,
    end: Option<Parting>,
}

/// A ring and what it must hold.
#[derive(Debug)]
pub(crate) struct Modelled<P> {
    place: P,
    producer: Producer,
    consumer: Consumer,
    /// What is published: the first one is read, the last one written.
    streams: VecDeque<Stream>,
    /// Whether a reading call has given the end of the first one.
    given: bool,
    /// Whether any call has.
    told: bool,
    /// What a batch holds back.
    held: VecDeque<u8>,
    batch: usize,
    start: u64,
    written: u64,
    read: u64,
    /// Where the stream began that is written, and the one that is read.
    began: [u64; 2],
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
            streams: VecDeque::from([Stream::default()]),
            given: false,
            told: false,
            held: VecDeque::new(),
            batch: 0,
            start,
            written: 0,
            read: 0,
            began: [0; 2],
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
        let published = self.streams.iter().map(|stream| stream.bytes.len());
        self.producer.capacity() - published.sum::<usize>() - self.held.len()
    }

    /// Bytes that can be read: none from behind an end.
    fn there(&self) -> usize {
        self.streams[0].bytes.len()
    }

    /// The end of the stream that is read, if it has come.
    fn end(&self) -> Option<Parting> {
        self.streams[0].end
    }

    /// Ends that are not acknowledged.
    fn ends(&self) -> usize {
        self.streams.len() - 1
    }

    fn written(&mut self) -> &mut VecDeque<u8> {
        &mut self.streams.back_mut().unwrap().bytes
    }

    /// The next bytes of the stream.
    fn next(&self, len: usize) -> Vec<u8> {
        let positions = self.written..self.written + len as u64;
        positions.map(byte_at).collect()
    }

    fn publish(&mut self) {
        let mut held = std::mem::take(&mut self.held);
        self.written().append(&mut held);
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
        let bytes = self.next(len);
        self.written().extend(bytes);
        self.written += len as u64;
    }

    #[track_caller]
    fn took(&mut self, bytes: &[u8]) {
        let wanted: Vec<u8> = self.streams[0].bytes.drain(..bytes.len()).collect();
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
                let result = self.consumer.try_read(&mut bytes);
                if self.there() == 0 && len > 0 {
                    let nothing = match self.end() {
                        None => Err(TryReadError::Empty),
                        Some(Parting::Close) => Ok(0),
                        Some(Parting::Abort) => Err(Broken::ProducerAborted.into()),
                    };
                    assert_eq!(result, nothing);
                    self.was_given(self.end().is_some());
                } else {
                    let read = result.unwrap();
                    assert_eq!(read, len.min(self.there()));
                    self.took(&bytes[..read]);
                }
            }
            Call::Receive(len) => {
                if self.would_wait(len) {
                    return;
                }
                let mut bytes = vec![0; len];
                let result = self.consumer.read(&mut bytes);
                self.received(result, &bytes);
            }
            Call::Spin(spins) => self.consumer.set_wait_policy(policy(spins)),
            Call::ReadParts(parts) => {
                let len = parts.iter().sum::<usize>();
                if self.would_wait(len) {
                    return;
                }
                let mut bytes = vec![0; len];
                let mut rest = &mut bytes[..];
                let mut slices = Vec::new();
                for part in parts {
                    let (first, others) = rest.split_at_mut(part);
                    slices.push(IoSliceMut::new(first));
                    rest = others;
                }
                let result = self.consumer.read_vectored(&mut slices);
                self.received(result, &bytes);
            }
            Call::ReadExactDeadline(len) => {
                let mut bytes = vec![0; len];
                let there = len.min(self.there());
                match self.consumer.read_exact_deadline(&mut bytes, passed) {
                    Ok(()) => assert_eq!(there, len),
                    Err(partial) => {
                        assert!(there < len);
                        let stop = match self.end() {
                            None => Stop::TimedOut,
                            Some(Parting::Close) => Stop::Ended,
                            Some(Parting::Abort) => Stop::Broken(Broken::ProducerAborted),
                        };
                        assert_eq!((partial.moved, partial.stop), (there, stop));
                        self.was_given(self.end().is_some());
                    }
                }
                self.took(&bytes[..there]);
            }
            Call::Peek(len, part) => self.peek(len, part, None),
            Call::PeekDeadline(len, part) => self.peek(len, part, Some(passed)),
            Call::PeekUpTo(most, part) => {
                let there = self.there().min(most);
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
                            self.too_few(1).unwrap_or(PeekError::Empty {
                                wanted: 1,
                                available: 0
                            })
                        );
                        assert!(there == 0 && most > 0);
                    }
                }
            }
            Call::Available => {
                assert_eq!(self.consumer.available(), Ok(self.there()));
            }
            Call::NewProducer(parting) => self.replace_producer(parting, false),
            Call::Resume(parting) => self.replace_producer(parting, true),
            Call::NewConsumer => self.replace_consumer(true),
            Call::AbortConsumer => self.replace_consumer(false),
            Call::NextStream => self.next_stream(),
        }
        let position = |count: u64| self.start.wrapping_add(count);
        assert_eq!(self.producer.position(), position(self.written));
        assert_eq!(self.consumer.position(), position(self.read));
        let [writing, reading] = self.began;
        assert_eq!(self.producer.stream_position(), self.written - writing);
        assert_eq!(self.consumer.stream_position(), self.read - reading);
        assert_eq!(self.consumer.is_closed(), self.ends() > 0);
    }

    /// Whether a read of so many bytes waits.
    fn would_wait(&self, len: usize) -> bool {
        self.there() == 0 && len > 0 && self.end().is_none()
    }

    /// What a read that may wait gave for `bytes`.
    fn received(&mut self, result: io::Result<usize>, bytes: &[u8]) {
        let at_the_end = self.there() == 0 && !bytes.is_empty();
        self.was_given(at_the_end && self.end().is_some());
        match self.end() {
            Some(Parting::Abort) if at_the_end => {
                let kind = result.unwrap_err().kind();
                assert_eq!(kind, io::ErrorKind::ConnectionAborted);
            }
            _ => {
                let read = result.unwrap();
                assert_eq!(read, bytes.len().min(self.there()));
                self.took(&bytes[..read]);
            }
        }
    }

    /// A reading call has given the end, if that is `so`.
    fn was_given(&mut self, so: bool) {
        self.given |= so;
        self.told |= so;
    }

    /// Why there are too few bytes, if more cannot come.
    fn too_few(&mut self, wanted: usize) -> Option<PeekError> {
        let available = self.there();
        self.told |= self.end().is_some();
        self.end().map(|end| match end {
            Parting::Close => PeekError::Ended { wanted, available },
            Parting::Abort => PeekError::Broken(Broken::ProducerAborted),
        })
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
        let (available, capacity) = (self.there(), self.consumer.capacity());
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
                    _ if self.end().is_some() => self.too_few(len).unwrap(),
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

    fn replace_producer(&mut self, parting: Parting, resumes: bool) {
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
        self.streams.back_mut().unwrap().end = Some(parting);
        self.streams.push_back(Stream::default());
        self.began[0] = self.written;
        while self.ends() >= MOST_ENDS {
            self.read_to_the_end();
        }
        // A stream that has an end is not gone on with.
        self.producer = if resumes {
            self.place.resuming()
        } else {
            self.place.producer()
        };
        self.batch = 0;
    }

    /// Reads the rest of the stream and its end, and goes on with the next one.
    fn read_to_the_end(&mut self) {
        let len = self.there();
        self.apply(Call::Read(len));
        self.apply(Call::Read(1));
        self.apply(Call::NextStream);
    }

    fn next_stream(&mut self) {
        let available = self.there();
        let next = self.consumer.next_stream();
        if available > 0 || self.end().is_none() {
            assert_eq!(next, Err(NextStreamError::NotEnded { available }));
        } else if self.end() == Some(Parting::Abort) && !self.told {
            assert_eq!(next, Err(Broken::ProducerAborted.into()));
            self.told = true;
        } else {
            assert_eq!(next, Ok(true));
            self.acknowledged();
        }
        assert_eq!(self.consumer.is_at_end(), self.told);
    }

    fn acknowledged(&mut self) {
        self.streams.pop_front();
        (self.given, self.told) = (false, false);
        self.began[1] = self.read;
    }

    fn replace_consumer(&mut self, acknowledges: bool) {
        if acknowledges {
            self.consumer.close().unwrap();
        } else {
            self.consumer.abort();
        }
        let closed = TryReadError::Broken(Broken::Closed);
        assert_eq!(self.consumer.try_read(&mut [0]), Err(closed));
        assert_eq!(self.producer.check_peer(), Err(Broken::ConsumerClosed));
        if acknowledges && self.given {
            self.acknowledged();
        }
        (self.given, self.told) = (false, false);
        self.consumer = self.place.consumer();
    }

    /// The rest, and the end of the last stream, which a drop is too.
    pub(crate) fn finish(mut self) {
        self.publish();
        drop(self.producer);
        self.streams.back_mut().unwrap().end = Some(Parting::Close);
        for stream in self.streams {
            let mut bytes = Vec::new();
            let result = self.consumer.read_to_end(&mut bytes);
            assert!(stream.bytes == bytes, "other bytes than were written");
            let kind = result.err().map(|error| error.kind());
            let aborted = io::ErrorKind::ConnectionAborted;
            let wanted = (stream.end == Some(Parting::Abort)).then_some(aborted);
            assert_eq!(kind, wanted);
            assert_eq!(self.consumer.next_stream(), Ok(true));
        }
        let nothing = Err(TryReadError::Empty);
        assert_eq!(self.consumer.try_read(&mut [0]), nothing);
    }
}
