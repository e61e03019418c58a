//! The sides of a ring under attack: every call that they have, in random
//! order, each within its time.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::time::{Duration, Instant};

use shmpipe::{Broken, Consumer, NextStreamError, Producer, Snapshot, WaitPolicy};

use crate::common::random::any;
use crate::memory::Fenced;
use crate::outcomes::{Outcomes, Verdict, timed};
use fastrand::Rng;

/// The time limit of a blocking call.
pub(crate) const LIMIT: Duration = Duration::from_millis(15);
/// Longer than the smallest rings are.
pub(crate) const MOST: usize = 6000;
/// How many calls a producer and a consumer have.
pub(crate) const CALLS: u64 = 16;

/// One call of a handle: which, and two lengths, for what it likes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    pub(crate) number: u64,
    pub(crate) len: usize,
    pub(crate) part: usize,
}

impl Call {
    fn any(random: &mut Rng) -> Call {
        Call {
            number: random.u64(..CALLS),
            len: len(random),
            part: len(random),
        }
    }

    fn policy(self) -> WaitPolicy {
        match self.part % 4 {
            0 => WaitPolicy::Spin,
            1 => WaitPolicy::SpinThenPark(Duration::from_micros(self.len as u64 / 50)),
            _ => WaitPolicy::Park,
        }
    }
}

fn len(random: &mut Rng) -> usize {
    let most = any(random, &[8, 300, MOST as u64]);
    random.u64(..most + 1) as usize
}

fn soon() -> Instant {
    Instant::now() + LIMIT
}

thread_local! {
    static ZERO: File = File::open("/dev/zero").unwrap();
    static NULL: File = File::create("/dev/null").unwrap();
}

fn fill(producer: &mut Producer, most: usize) -> io::Result<usize> {
    ZERO.with(|zero| producer.fill_from(zero, most))
}

fn drain(consumer: &mut Consumer, most: usize) -> io::Result<usize> {
    NULL.with(|null| consumer.drain_to(null, most))
}

/// The calls that both sides have and that only look.
macro_rules! look {
    ($end:ident, $policy:expr, $outcomes:ident) => {
        timed("looking", Duration::ZERO, || {
            let _ = ($end.peer(), $end.is_closed(), $end.stats(), $end.position());
            let _ = ($end.stream_position(), $end.nonce());
            assert!($end.capacity().is_power_of_two());
            $end.set_wait_policy($policy);
            match Snapshot::of($end.id().unwrap()) {
                Ok(ring) => {
                    assert!(ring.fill <= ring.capacity);
                    $outcomes.add("looked");
                }
                Err(_) => $outcomes.add("not looked"),
            }
        })
    };
}

/// Makes one call of a producer; gives back what ends the handle.
pub(crate) fn call_producer(
    producer: &mut Producer,
    call: Call,
    outcomes: &mut Outcomes,
) -> Verdict {
    let Call { number, len, part } = call;
    let bytes = [0x5a; MOST];
    let result = timed("a call of the producer", LIMIT, || match number {
        0 | 1 => producer.try_write(&bytes[..len]).map_err(io::Error::from),
        2 => producer.write(&bytes[..len]),
        3 => producer.write_all(&bytes[..len]).map(|()| len),
        4 => producer.write_vectored(&[IoSlice::new(&bytes[..len]), IoSlice::new(&bytes)]),
        5 => (producer.write_all_deadline(&bytes[..len], soon()))
            .map(|()| len)
            .map_err(io::Error::from),
        6..=8 => {
            let grant = match number {
                6 => producer.reserve(len.min(4096)),
                7 => producer.reserve_up_to(len),
                _ => producer.reserve_deadline(len.min(4096), soon()),
            };
            grant.map_err(io::Error::from).map(|mut grant| {
                let (granted, part) = (grant.len(), part.min(grant.len()));
                grant.write_at(granted - part, &bytes[..part]);
                assert!(!grant.as_mut_ptr().is_null());
                grant.commit(part);
                part
            })
        }
        9 => fill(producer, len),
        10 => producer.flush().map(|()| 0),
        11 => {
            producer.set_batch(part);
            producer.room(len).map_err(io::Error::from)
        }
        12 | 13 => producer.check_peer().map(|()| 0).map_err(io::Error::from),
        14 => producer.consumed().map(|_| 0).map_err(io::Error::from),
        _ => {
            look!(producer, call.policy(), outcomes);
            Ok(0)
        }
    });
    let verdict = outcomes.judge(result);
    if let Some(broken @ Broken::Corrupted(_)) = &verdict {
        for call in [
            producer.try_write(&bytes[..1]).map_err(io::Error::from),
            producer.write(&bytes),
            producer.reserve(1).map(|_| 0).map_err(io::Error::from),
            producer.room(1).map_err(io::Error::from),
            fill(producer, 1),
            producer.check_peer().map(|()| 0).map_err(io::Error::from),
        ] {
            assert_eq!(outcomes.judge(call).as_ref(), Some(broken), "for good");
        }
    }
    verdict
}

/// Goes on with the next stream, if this one has ended.
fn next_stream(consumer: &mut Consumer) -> Result<bool, Broken> {
    match consumer.next_stream() {
        Ok(next) => Ok(next),
        Err(NextStreamError::NotEnded { available }) => {
            assert!(available <= consumer.capacity());
            Ok(false)
        }
        Err(NextStreamError::Broken(broken)) => Err(broken),
        Err(error) => panic!("not an answer to this: {error:?}"),
    }
}

/// Makes one call of a consumer; gives back what ends the handle.
pub(crate) fn call_consumer(
    consumer: &mut Consumer,
    call: Call,
    outcomes: &mut Outcomes,
) -> Verdict {
    let Call { number, len, part } = call;
    let mut fenced = Fenced::new(MOST);
    let buffer = fenced.first(len);
    let result = timed("a call of the consumer", LIMIT, || match number {
        0 | 1 => consumer.try_read(buffer).map_err(io::Error::from),
        2 => consumer.read(buffer),
        3 => {
            let (one, two) = buffer.split_at_mut(len / 3);
            consumer.read_vectored(&mut [IoSliceMut::new(one), IoSliceMut::new(two)])
        }
        4 => (consumer.read_deadline(buffer, soon())).map_err(io::Error::from),
        5 => (consumer.read_exact_deadline(buffer, soon()))
            .map(|()| len)
            .map_err(io::Error::from),
        6..=8 => {
            let grant = match number {
                6 => consumer.peek(len.min(4096)),
                7 => consumer.peek_up_to(len),
                _ => consumer.peek_deadline(len.min(4096), soon()),
            };
            grant.map_err(io::Error::from).map(|grant| {
                let part = part.min(grant.len());
                let (granted, copied) = (grant.len(), part.min(len));
                grant.read_at(granted - copied, &mut buffer[..copied]);
                assert!(!grant.as_ptr().is_null());
                grant.consume(part);
                part
            })
        }
        9 => drain(consumer, len),
        10 | 11 => consumer.available().map_err(io::Error::from),
        15 => match consumer.next_stream() {
            Ok(_) | Err(NextStreamError::NotEnded { .. }) => Ok(0),
            Err(error) => Err(error.into()),
        },
        12 | 13 => consumer.check_peer().map(|()| 0).map_err(io::Error::from),
        14 => next_stream(consumer).map(|_| 0).map_err(io::Error::from),
        _ => {
            look!(consumer, call.policy(), outcomes);
            Ok(0)
        }
    });
    fenced.check(len);
    let verdict = outcomes.judge(result);
    if let Some(broken @ Broken::Corrupted(_)) = &verdict {
        for call in [
            consumer.try_read(&mut [0]).map_err(io::Error::from),
            consumer.read(&mut [0]),
            consumer.peek(1).map(|_| 0).map_err(io::Error::from),
            consumer.available().map_err(io::Error::from),
            drain(consumer, 1),
            consumer.check_peer().map(|()| 0).map_err(io::Error::from),
            next_stream(consumer).map(|_| 0).map_err(io::Error::from),
        ] {
            assert_eq!(outcomes.judge(call).as_ref(), Some(broken), "for good");
        }
    }
    verdict
}

/// Writes, in every way there is, until it breaks or `until`; then leaves.
pub(crate) fn write(
    mut producer: Producer,
    until: Instant,
    random: &mut Rng,
    outcomes: &mut Outcomes,
) {
    producer.set_timeout(Some(LIMIT));
    while Instant::now() < until {
        if call_producer(&mut producer, Call::any(random), outcomes).is_some() {
            break;
        }
    }
    timed("leaving", LIMIT, || match random.u64(..3) {
        0 => drop(producer.close()),
        1 => producer.abort(),
        _ => drop(producer),
    });
}

/// Reads, in every way there is, until it breaks or `until`; then leaves.
pub(crate) fn read(
    mut consumer: Consumer,
    until: Instant,
    random: &mut Rng,
    outcomes: &mut Outcomes,
) {
    consumer.set_timeout(Some(LIMIT));
    while Instant::now() < until {
        match call_consumer(&mut consumer, Call::any(random), outcomes) {
            None => {}
            // Another stream may follow one that is not whole.
            Some(Broken::ProducerAborted | Broken::Died { .. })
                if next_stream(&mut consumer) == Ok(true) =>
            {
                outcomes.add("next stream");
            }
            Some(_) => break,
        }
    }
    timed("leaving", LIMIT, || match random.u64(..3) {
        0 => drop(consumer.close()),
        1 => consumer.abort(),
        _ => drop(consumer),
    });
}
