//! A ring beside a queue of bytes with ends in it. The queue says what each call must
//! return. This file has more than 450 lines because it is one state machine: all calls
//! change one state.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::time::Instant;

use shmpipe::{
    Broken, Consumer, NextStreamError, PartialError, PeekError, Producer, ReserveError,
    TryReadError, TryWriteError, WaitError,
};

use super::calls::{Answer, Call, Files, Granted, Means, Parting, consume, produce};

/// Where the ring is. A role that was left can be taken again.
pub(crate) trait Place {
    fn producer(&self) -> Producer;
    /// A producer that resumes.
    fn resuming(&self) -> Producer {
        self.producer()
    }
    fn consumer(&self) -> Consumer;
    /// A file for calls that move bytes to or from one.
    fn file(&self) -> Option<&File> {
        None
    }
    /// Whether a grant ends at the end of the ring.
    const ENDS: bool;
}

/// The byte of the stream at a position. It differs from its neighbours, and from those a
/// power of two away.
fn byte_at(position: u64) -> u8 {
    (position.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
}

/// Only this thread uses the ring, and no call may wait.
fn means(file: Option<&File>) -> Means<'_> {
    Means {
        deadline: Instant::now(),
        files: file.map_or(Files::None, Files::Own),
        is_alone: true,
    }
}

fn granted(len: usize, part: usize) -> Granted {
    Granted {
        len,
        used: part.min(len),
    }
}

/// The bytes that moved, of `len`, and why there were no more.
fn of_all(result: Result<(), PartialError>, len: usize) -> (usize, Option<WaitError>) {
    match result {
        Ok(()) => (len, None),
        Err(partial) => (partial.moved, Some(partial.cause)),
    }
}

fn stops(does: bool, how: WaitError) -> Option<WaitError> {
    does.then_some(how)
}

/// With this many ends that are not acknowledged, no further producer has a place.
const MOST_ENDS: usize = 126;

/// A stream: its unread bytes, and its end.
#[derive(Debug, Default)]
struct Stream {
    bytes: VecDeque<u8>,
    end: Option<Parting>,
}

/// A ring and the contents that it must have.
#[derive(Debug)]
pub(crate) struct Modelled<P> {
    place: P,
    pub(crate) producer: Producer,
    pub(crate) consumer: Consumer,
    /// The published streams: the first one is read, the last one written.
    streams: VecDeque<Stream>,
    /// Whether a reading call has returned the end of the first stream.
    given: bool,
    /// Whether any call has returned that end.
    told: bool,
    /// The bytes that a batch holds back.
    held: VecDeque<u8>,
    batch: usize,
    start: u64,
    written: u64,
    read: u64,
    /// Where the stream that is written began, and the one that is read.
    began: [u64; 2],
}

impl<P: Place> Modelled<P> {
    /// An empty ring. `start` is the position of both ends.
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

    /// The longest grant of `len` bytes from a position on.
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

    /// Bytes that can be read: none from beyond an end.
    fn there(&self) -> usize {
        self.streams[0].bytes.len()
    }

    /// The end of the stream that is read, if it is published.
    fn end(&self) -> Option<Parting> {
        self.streams[0].end
    }

    /// The number of ends that are not acknowledged.
    fn ends(&self) -> usize {
        self.streams.len() - 1
    }

    fn written(&mut self) -> &mut VecDeque<u8> {
        &mut self.streams.back_mut().unwrap().bytes
    }

    /// The next bytes of the stream.
    pub(crate) fn next(&self, len: usize) -> Vec<u8> {
        let positions = self.written..self.written + len as u64;
        positions.map(byte_at).collect()
    }

    fn publish(&mut self) {
        let mut held = std::mem::take(&mut self.held);
        self.written().append(&mut held);
    }

    /// A write has taken `len` of `asked` bytes.
    pub(crate) fn wrote(&mut self, len: usize, asked: usize) {
        self.held.extend(self.next(len));
        self.written += len as u64;
        if len < asked || (len > 0 && self.held.len() >= self.batch) {
            self.publish();
        }
    }

    /// A call has looked for `wanted` bytes of room, or for `up_to` so many, and found `room`.
    /// If that was less, the consumer gets to see all bytes.
    fn looked_for_room(&mut self, room: usize, wanted: usize, up_to: bool) {
        let capacity = self.producer.capacity();
        if room < wanted.min(capacity) && (up_to || wanted <= capacity) {
            self.publish();
        }
    }

    #[track_caller]
    pub(crate) fn took(&mut self, bytes: &[u8]) {
        let wanted: Vec<u8> = self.streams[0].bytes.drain(..bytes.len()).collect();
        assert!(bytes == wanted, "other bytes than were written");
        self.read += bytes.len() as u64;
    }

    /// Makes a call, unless it would wait, and compares its answer with the queue.
    pub(crate) fn apply(&mut self, call: Call) {
        match call {
            Call::WriteParts(_) | Call::Fill(_) if self.room() == 0 && call.len() > 0 => return,
            Call::Receive(_) | Call::ReadParts(_) | Call::Drain(_)
                if self.there() == 0 && call.len() > 0 && self.end().is_none() =>
            {
                return;
            }
            Call::NewProducer(parting) => self.replace_producer(parting, false),
            Call::Resume(parting) => self.replace_producer(parting, true),
            Call::NewConsumer => self.replace_consumer(true),
            Call::AbortConsumer => self.replace_consumer(false),
            Call::Write(_)
            | Call::WriteParts(_)
            | Call::WriteDeadline(_)
            | Call::Reserve(..)
            | Call::ReserveUpTo(..)
            | Call::ReserveDeadline(..)
            | Call::Fill(_)
            | Call::Flush
            | Call::Batch(_)
            | Call::Room(_) => self.write(&call),
            _ => self.read(&call),
        }
        let position = |count: u64| self.start.wrapping_add(count);
        assert_eq!(self.producer.position(), position(self.written));
        assert_eq!(self.consumer.position(), position(self.read));
        let [writing, reading] = self.began;
        assert_eq!(self.producer.stream_position(), self.written - writing);
        assert_eq!(self.consumer.stream_position(), self.read - reading);
        assert_eq!(self.consumer.is_closed(), self.ends() > 0);
    }

    /// Makes a call of the producer. A table: one arm for each kind of answer.
    fn write(&mut self, call: &Call) {
        let (len, room, bytes) = (call.len(), self.room(), self.next(call.len()));
        let means = means(self.place.file());
        let position = self.producer.position();
        let answer = produce(&mut self.producer, call, &bytes, means);
        let fits = len.min(room);
        match (call, answer) {
            (Call::Write(_), Answer::TryWrite(result)) => {
                let nothing_fits = fits == 0 && len > 0;
                let wanted = (!nothing_fits).then_some(fits).ok_or(TryWriteError::Full);
                assert_eq!(result, wanted);
                self.wrote(fits, len);
            }
            (Call::WriteParts(_), Answer::Moved(result)) => {
                assert_eq!(result.unwrap(), fits);
                self.wrote(fits, len);
            }
            (Call::Fill(_), Answer::Moved(result)) => {
                assert_eq!(result.unwrap(), fits);
                self.wrote(fits, len);
                self.publish();
            }
            (Call::WriteDeadline(_), Answer::All(result)) => {
                assert_eq!(
                    of_all(result, len),
                    (fits, stops(fits < len, WaitError::TimedOut))
                );
                self.wrote(fits, len);
            }
            (
                &(Call::Reserve(_, part)
                | Call::ReserveUpTo(_, part)
                | Call::ReserveDeadline(_, part)),
                Answer::Reserved(result),
            ) => {
                self.looked_for_room(room, len, matches!(call, Call::ReserveUpTo(..)));
                let wanted = self.reserved(call, room, self.in_one_piece(position, len));
                let wanted = wanted.map(|len| granted(len, part));
                assert_eq!(result, wanted);
                if let Ok(granted) = result {
                    self.wrote(granted.used, granted.used);
                }
            }
            (Call::Flush, Answer::Moved(result)) => {
                result.unwrap();
                self.publish();
            }
            (&Call::Batch(bytes), Answer::Looked(Ok(()))) => {
                self.batch = bytes;
                if self.held.len() >= bytes {
                    self.publish();
                }
            }
            (&Call::Room(wanted), Answer::Room(said, waited)) => {
                assert_eq!(said, Ok(room));
                self.looked_for_room(room, wanted, false);
                let capacity = self.producer.capacity();
                let expected = match wanted {
                    _ if wanted > capacity => Err(ReserveError::TooLong { wanted, capacity }),
                    _ if wanted > room => Err(ReserveError::TimedOut { wanted, room }),
                    _ => Ok(()),
                };
                assert_eq!(waited, expected);
            }
            (call, answer) => panic!("{call:?} does not come to {answer:?}"),
        }
    }

    /// The length of a grant, with this much room, and this much of it in one piece.
    fn reserved(&self, call: &Call, room: usize, contiguous: usize) -> Result<usize, ReserveError> {
        let capacity = self.producer.capacity();
        match *call {
            Call::ReserveUpTo(wanted, _) if wanted > 0 && room == 0 => {
                Err(ReserveError::Full { wanted: 1, room })
            }
            Call::ReserveUpTo(..) => Ok(contiguous.min(room)),
            _ if call.len() > capacity => Err(ReserveError::TooLong {
                wanted: call.len(),
                capacity,
            }),
            Call::Reserve(wanted, _) if wanted > room => Err(ReserveError::Full { wanted, room }),
            Call::ReserveDeadline(wanted, _) if wanted > room => {
                Err(ReserveError::TimedOut { wanted, room })
            }
            _ if contiguous < call.len() => Err(ReserveError::Wraps {
                wanted: call.len(),
                contiguous,
            }),
            _ => Ok(call.len()),
        }
    }

    /// Makes a call of the consumer. A table: one arm for each kind of answer.
    fn read(&mut self, call: &Call) {
        let (len, available) = (call.len(), self.there());
        let means = means(self.place.file());
        let position = self.consumer.position();
        let mut bytes = vec![0; len];
        let answer = consume(&mut self.consumer, call, &mut bytes, means);
        let there = len.min(available);
        let is_over = available == 0 && len > 0;
        match (call, answer) {
            (Call::Read(_), Answer::TryRead(result)) => {
                let wanted = match self.end() {
                    _ if !is_over => Ok(there),
                    None => Err(TryReadError::Empty),
                    Some(Parting::Close) => Ok(0),
                    Some(Parting::Abort) => Err(Broken::ProducerAborted.into()),
                };
                assert_eq!(result, wanted);
                self.was_given(is_over && self.end().is_some());
                self.took(&bytes[..there]);
            }
            (Call::Receive(_) | Call::ReadParts(_) | Call::Drain(_), Answer::Moved(result)) => {
                self.was_given(is_over && self.end().is_some());
                if is_over && self.end() == Some(Parting::Abort) {
                    let kind = result.unwrap_err().kind();
                    assert_eq!(kind, io::ErrorKind::ConnectionAborted);
                } else {
                    assert_eq!(result.unwrap(), there);
                    self.took(&bytes[..there]);
                }
            }
            (Call::ReadExactDeadline(_), Answer::All(result)) => {
                let stop = match self.end() {
                    None => WaitError::TimedOut,
                    Some(Parting::Close) => WaitError::Ended,
                    Some(Parting::Abort) => WaitError::Broken(Broken::ProducerAborted),
                };
                assert_eq!(of_all(result, len), (there, stops(there < len, stop)));
                self.was_given(there < len && self.end().is_some());
                self.took(&bytes[..there]);
            }
            (
                &(Call::Peek(_, part) | Call::PeekUpTo(_, part) | Call::PeekDeadline(_, part)),
                Answer::Peeked(result),
            ) => {
                let wanted = self.peeked(call, self.in_one_piece(position, len));
                assert_eq!(result, wanted.map(|len| granted(len, part)));
                if let Ok(granted) = result {
                    let seen = self.streams[0].bytes.iter().take(granted.len);
                    assert!(
                        seen.eq(&bytes[..granted.len]),
                        "other bytes than were written"
                    );
                    self.took(&bytes[..granted.used]);
                }
            }
            (Call::Available, Answer::Number(result)) => assert_eq!(result, Ok(available)),
            (Call::Spin(_), Answer::Looked(Ok(()))) => {}
            (Call::NextStream, Answer::NextStream(result)) => self.next_stream(result),
            (call, answer) => panic!("{call:?} does not come to {answer:?}"),
        }
    }

    /// The length of a grant of bytes to read, `contiguous` of which are in one piece.
    fn peeked(&mut self, call: &Call, contiguous: usize) -> Result<usize, PeekError> {
        let (wanted, available) = (call.len(), self.there());
        let capacity = self.consumer.capacity();
        match *call {
            Call::PeekUpTo(..) if wanted > 0 && available == 0 => {
                Err(self.too_few(1).unwrap_or(PeekError::Empty {
                    wanted: 1,
                    available,
                }))
            }
            Call::PeekUpTo(..) => Ok(contiguous.min(available)),
            _ if wanted > capacity => Err(PeekError::TooLong { wanted, capacity }),
            _ if wanted <= available && contiguous < wanted => {
                Err(PeekError::Wraps { wanted, contiguous })
            }
            _ if wanted <= available => Ok(wanted),
            _ if self.end().is_some() => Err(self.too_few(wanted).unwrap()),
            Call::Peek(..) => Err(PeekError::Empty { wanted, available }),
            _ => Err(PeekError::TimedOut { wanted, available }),
        }
    }

    /// Records that a reading call has returned the end, if `so`.
    fn was_given(&mut self, so: bool) {
        self.given |= so;
        self.told |= so;
    }

    /// The error for too few bytes, if no more can come.
    fn too_few(&mut self, wanted: usize) -> Option<PeekError> {
        let available = self.there();
        self.told |= self.end().is_some();
        self.end().map(|end| match end {
            Parting::Close => PeekError::Ended { wanted, available },
            Parting::Abort => PeekError::Broken(Broken::ProducerAborted),
        })
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
        // Nobody resumes a stream that has an end.
        self.producer = if resumes {
            self.place.resuming()
        } else {
            self.place.producer()
        };
        self.batch = 0;
    }

    /// Reads the rest of the stream and its end, and continues with the next stream.
    fn read_to_the_end(&mut self) {
        let len = self.there();
        self.apply(Call::Read(len));
        self.apply(Call::Read(1));
        self.apply(Call::NextStream);
    }

    fn next_stream(&mut self, next: Result<bool, NextStreamError>) {
        let available = self.there();
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

    /// Reads the rest, and the end of the last stream. A drop makes an end, too.
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
