//! Makes any call on a handle: the one place for that. Two users judge the answer.
//! [`super::model`] knows it exactly. [`Answer::check`] rules out what no peer may cause.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read, Seek, Write};
use std::time::Instant;

use shmpipe::{
    Broken, Consumer, NextStreamError, PartialError, PeekError, Producer, ReadGrant, ReserveError,
    Role, TryReadError, TryWriteError, WaitError, WaitPolicy, WriteGrant,
};

use super::tape::Tape;

/// A call on a ring. Lengths are in bytes. Of two lengths, the second one is the part of a
/// grant that is used.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    Write(usize),
    WriteParts(Vec<usize>),
    WriteDeadline(usize),
    /// `Send` is a write that may wait; `SendAll` writes all of its bytes.
    Send(usize),
    SendAll(usize),
    Reserve(usize, usize),
    ReserveUpTo(usize, usize),
    ReserveDeadline(usize, usize),
    /// From a file, by `fill_from`.
    Fill(usize),
    Flush,
    Batch(usize),
    Room(usize),
    /// The position of the consumer, as the producer sees it.
    Consumed,
    Read(usize),
    ReadParts(Vec<usize>),
    ReadDeadline(usize),
    ReadExactDeadline(usize),
    Peek(usize, usize),
    PeekUpTo(usize, usize),
    PeekDeadline(usize, usize),
    /// To a file, by `drain_to`.
    Drain(usize),
    Available,
    /// A read that may wait.
    Receive(usize),
    /// Acknowledges an end, if the consumer is at one.
    NextStream,
    /// Whether the consumer spins. One that does may get inline messages.
    Spin(bool),
    /// The calls of a side that only look, and its wait policy.
    Look(Role, WaitPolicy),
    /// Asks whether the other side lives.
    CheckPeer(Role),
    /// The producer leaves, and another producer comes.
    NewProducer(Parting),
    /// The producer leaves. The next one resumes its stream, if that has no end.
    Resume(Parting),
    /// The consumer leaves, the producer learns of it, and another consumer comes.
    NewConsumer,
    /// The consumer leaves without acknowledging anything, and another consumer comes.
    AbortConsumer,
}

/// How a producer leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parting {
    Close,
    Abort,
}

impl Call {
    /// Reads the next call from the tape. Lengths go a little beyond `most`.
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

    /// The most bytes that the call moves.
    pub(crate) fn len(&self) -> usize {
        match self {
            Call::WriteParts(parts) | Call::ReadParts(parts) => parts.iter().sum(),
            &(Call::Write(len)
            | Call::WriteDeadline(len)
            | Call::Send(len)
            | Call::SendAll(len)
            | Call::Reserve(len, _)
            | Call::ReserveUpTo(len, _)
            | Call::ReserveDeadline(len, _)
            | Call::Fill(len)
            | Call::Read(len)
            | Call::ReadDeadline(len)
            | Call::ReadExactDeadline(len)
            | Call::Peek(len, _)
            | Call::PeekUpTo(len, _)
            | Call::PeekDeadline(len, _)
            | Call::Drain(len)
            | Call::Receive(len)) => len,
            _ => 0,
        }
    }
}

/// What the calls need.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Means<'a> {
    pub(crate) deadline: Instant,
    /// The source of [`Call::Fill`] and the destination of [`Call::Drain`]: a file that
    /// nobody else uses, whose contents are compared, or devices.
    pub(crate) files: Files<'a>,
    /// Whether nobody else can touch the ring. Some grants are then used as slices.
    pub(crate) is_alone: bool,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Files<'a> {
    Own(&'a File),
    Devices { zero: &'a File, null: &'a File },
    None,
}

/// A grant: its length, and the part of it that was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Granted {
    pub(crate) len: usize,
    pub(crate) used: usize,
}

/// The answer of a call.
#[derive(Debug)]
pub(crate) enum Answer {
    Moved(io::Result<usize>),
    TryWrite(Result<usize, TryWriteError>),
    TryRead(Result<usize, TryReadError>),
    Some(Result<usize, PartialError>),
    All(Result<(), PartialError>),
    Reserved(Result<Granted, ReserveError>),
    Peeked(Result<Granted, PeekError>),
    Number(Result<usize, Broken>),
    /// The room, and the result of waiting for it.
    Room(Result<usize, Broken>, Result<(), ReserveError>),
    Looked(Result<(), Broken>),
    NextStream(Result<bool, NextStreamError>),
}

/// Makes a call of a producer. `bytes` has as many bytes as the call moves. The function is
/// long, since it is a table: one arm for each call.
pub(crate) fn produce(
    producer: &mut Producer,
    call: &Call,
    bytes: &[u8],
    means: Means<'_>,
) -> Answer {
    assert_eq!(bytes.len(), call.len());
    match *call {
        Call::Write(_) => Answer::TryWrite(producer.try_write(bytes)),
        Call::Send(_) => Answer::Moved(producer.write(bytes)),
        Call::SendAll(len) => Answer::Moved(producer.write_all(bytes).map(|()| len)),
        Call::WriteParts(ref parts) => {
            let mut rest = bytes;
            let next = |&len: &usize| {
                let (part, others) = rest.split_at(len);
                rest = others;
                IoSlice::new(part)
            };
            let slices: Vec<_> = parts.iter().map(next).collect();
            Answer::Moved(producer.write_vectored(&slices))
        }
        Call::WriteDeadline(_) => Answer::All(producer.write_all_deadline(bytes, means.deadline)),
        Call::Reserve(len, part) => {
            Answer::Reserved(commit(producer.try_reserve(len), bytes, part, means))
        }
        Call::ReserveUpTo(len, part) => {
            Answer::Reserved(commit(producer.try_reserve_up_to(len), bytes, part, means))
        }
        Call::ReserveDeadline(len, part) => {
            let grant = producer.reserve_deadline(len, means.deadline);
            Answer::Reserved(commit(grant, bytes, part, means))
        }
        Call::Fill(most) => Answer::Moved(match means.files {
            Files::Own(mut file) => {
                file.rewind().unwrap();
                file.write_all(bytes).unwrap();
                file.rewind().unwrap();
                producer.fill_from(file, most)
            }
            Files::Devices { zero, .. } => producer.fill_from(zero, most),
            Files::None => panic!("no file to fill from"),
        }),
        Call::Flush => Answer::Moved(producer.flush().map(|()| 0)),
        Call::Batch(bytes) => {
            producer.set_batch(bytes);
            assert_eq!(producer.batch(), bytes);
            Answer::Looked(Ok(()))
        }
        Call::Room(wanted) => {
            let room = producer.room();
            let waited = producer.wait_writable_deadline(wanted, means.deadline);
            Answer::Room(room, waited)
        }
        Call::Consumed => Answer::Looked(producer.consumed().map(drop)),
        Call::CheckPeer(Role::Producer) => Answer::Looked(producer.check_peer()),
        Call::Look(Role::Producer, policy) => {
            let _ = (producer.peer(), producer.is_closed(), producer.stats());
            let _ = (producer.position(), producer.stream_position());
            let _ = producer.nonce();
            assert!(producer.capacity().is_power_of_two());
            producer.set_wait_policy(policy);
            Answer::Looked(Ok(()))
        }
        _ => panic!("not a call of a producer: {call:?}"),
    }
}

/// Makes a call of a consumer. `buffer` is as long as the most bytes that the call moves.
/// It also gets the bytes of a grant, and those that went to a file of our own. The
/// function is long, since it is a table: one arm for each call.
pub(crate) fn consume(
    consumer: &mut Consumer,
    call: &Call,
    buffer: &mut [u8],
    means: Means<'_>,
) -> Answer {
    assert_eq!(buffer.len(), call.len());
    match *call {
        Call::Read(_) => Answer::TryRead(consumer.try_read(buffer)),
        Call::Receive(_) => Answer::Moved(consumer.read(buffer)),
        Call::ReadParts(ref parts) => {
            let mut rest = buffer;
            let mut slices = Vec::new();
            for &len in parts {
                let (part, others) = rest.split_at_mut(len);
                slices.push(IoSliceMut::new(part));
                rest = others;
            }
            Answer::Moved(consumer.read_vectored(&mut slices))
        }
        Call::ReadDeadline(_) => Answer::Some(consumer.read_deadline(buffer, means.deadline)),
        Call::ReadExactDeadline(_) => {
            Answer::All(consumer.read_exact_deadline(buffer, means.deadline))
        }
        Call::Peek(len, part) => Answer::Peeked(take(consumer.try_peek(len), buffer, part, means)),
        Call::PeekUpTo(len, part) => {
            Answer::Peeked(take(consumer.try_peek_up_to(len), buffer, part, means))
        }
        Call::PeekDeadline(len, part) => {
            let grant = consumer.peek_deadline(len, means.deadline);
            Answer::Peeked(take(grant, buffer, part, means))
        }
        Call::Drain(most) => Answer::Moved(match means.files {
            Files::Own(mut file) => {
                file.rewind().unwrap();
                let drained = consumer.drain_to(file, most);
                if let Ok(drained) = drained {
                    file.rewind().unwrap();
                    file.read_exact(&mut buffer[..drained]).unwrap();
                }
                drained
            }
            Files::Devices { null, .. } => consumer.drain_to(null, most),
            Files::None => panic!("no file to drain into"),
        }),
        Call::Available => Answer::Number(consumer.available()),
        Call::NextStream => Answer::NextStream(consumer.next_stream()),
        Call::Spin(spins) => {
            let policy = if spins {
                WaitPolicy::Spin
            } else {
                WaitPolicy::Park
            };
            consumer.set_wait_policy(policy);
            Answer::Looked(Ok(()))
        }
        Call::CheckPeer(Role::Consumer) => Answer::Looked(consumer.check_peer()),
        Call::Look(Role::Consumer, policy) => {
            let _ = (consumer.peer(), consumer.is_closed(), consumer.stats());
            let _ = (consumer.position(), consumer.stream_position());
            let _ = (consumer.nonce(), consumer.is_at_end());
            assert!(consumer.capacity().is_power_of_two());
            consumer.set_wait_policy(policy);
            Answer::Looked(Ok(()))
        }
        _ => panic!("not a call of a consumer: {call:?}"),
    }
}

/// Fills a grant and commits part of it.
#[allow(unsafe_code)]
fn commit(
    grant: Result<WriteGrant<'_>, ReserveError>,
    bytes: &[u8],
    part: usize,
    means: Means<'_>,
) -> Result<Granted, ReserveError> {
    let mut grant = grant?;
    let len = grant.len();
    assert!(len <= bytes.len() && !grant.as_mut_ptr().is_null());
    if means.is_alone && part % 2 == 1 {
        // SAFETY: nobody else touches the ring.
        unsafe { grant.as_mut_slice() }.copy_from_slice(&bytes[..len]);
    } else {
        grant.write_at(&bytes[..len], 0);
    }
    let used = part.min(len);
    grant.commit(used);
    Ok(Granted { len, used })
}

/// Copies a grant and consumes part of it.
#[allow(unsafe_code)]
fn take(
    grant: Result<ReadGrant<'_>, PeekError>,
    buffer: &mut [u8],
    part: usize,
    means: Means<'_>,
) -> Result<Granted, PeekError> {
    let grant = grant?;
    let len = grant.len();
    assert!(len <= buffer.len() && !grant.as_ptr().is_null());
    if means.is_alone && part % 2 == 1 {
        // SAFETY: nobody else touches the ring.
        buffer[..len].copy_from_slice(unsafe { grant.as_slice() });
    } else {
        grant.read_at(&mut buffer[..len], 0);
    }
    let used = part.min(len);
    grant.consume(used);
    Ok(Granted { len, used })
}

impl Answer {
    /// Panics at what no peer may cause: more bytes than were asked for, or than the ring
    /// has.
    #[track_caller]
    pub(crate) fn check(&self, call: &Call, capacity: usize) {
        let most = call.len();
        match self {
            Answer::Moved(Ok(moved))
            | Answer::TryWrite(Ok(moved))
            | Answer::TryRead(Ok(moved))
            | Answer::Some(Ok(moved)) => assert!(*moved <= most),
            Answer::Some(Err(partial)) | Answer::All(Err(partial)) => {
                assert!(partial.moved <= most);
            }
            Answer::Reserved(Ok(granted)) | Answer::Peeked(Ok(granted)) => {
                assert!(granted.len <= most.min(capacity));
            }
            Answer::Number(Ok(number)) | Answer::Room(Ok(number), _) => {
                assert!(*number <= capacity)
            }
            Answer::NextStream(Err(NextStreamError::NotEnded { available })) => {
                assert!(*available <= capacity);
            }
            Answer::NextStream(Err(error)) => {
                let is_broken = matches!(error, NextStreamError::Broken(_));
                assert!(is_broken, "not an answer to this: {error:?}");
            }
            _ => {}
        }
    }

    /// Why the stream is broken, if the answer says so.
    pub(crate) fn broken(&self) -> Option<Broken> {
        match self {
            Answer::Moved(Err(error)) => error.get_ref()?.downcast_ref().cloned(),
            Answer::TryWrite(Err(TryWriteError::Broken(broken)))
            | Answer::TryRead(Err(TryReadError::Broken(broken)))
            | Answer::Reserved(Err(ReserveError::Broken(broken)))
            | Answer::Peeked(Err(PeekError::Broken(broken)))
            | Answer::Number(Err(broken))
            | Answer::Room(Err(broken), _)
            | Answer::Room(_, Err(ReserveError::Broken(broken)))
            | Answer::Looked(Err(broken))
            | Answer::NextStream(Err(NextStreamError::Broken(broken))) => Some(broken.clone()),
            Answer::Some(Err(partial)) | Answer::All(Err(partial)) => match &partial.cause {
                WaitError::Broken(broken) => Some(broken.clone()),
                _ => None,
            },
            _ => None,
        }
    }

    /// The bytes that moved, or the error as an [`io::Error`]. Full and empty count as no
    /// bytes.
    pub(crate) fn into_io(self, call: &Call) -> io::Result<usize> {
        Ok(match self {
            Answer::Moved(moved) => moved?,
            Answer::TryWrite(moved) => moved?,
            Answer::TryRead(moved) => moved?,
            Answer::Some(moved) => moved?,
            Answer::All(all) => all.map(|()| call.len())?,
            Answer::Reserved(granted) => granted?.used,
            Answer::Peeked(granted) => granted?.used,
            Answer::Number(number) => number?,
            Answer::Room(room, waited) => {
                if let Err(ReserveError::Broken(broken)) = waited {
                    return Err(broken.into());
                }
                room?
            }
            Answer::Looked(looked) => looked.map(|()| 0)?,
            Answer::NextStream(Err(NextStreamError::NotEnded { .. })) => 0,
            Answer::NextStream(next) => next.map(|_| 0)?,
        })
    }
}
