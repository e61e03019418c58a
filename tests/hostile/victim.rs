//! The sides of a ring under attack: every call that they have, in random
//! order, each within its time.

use std::fs::File;
use std::time::{Duration, Instant};

use shmpipe::sysv::SegmentId;
use shmpipe::{Broken, Consumer, NextStreamError, Producer, Role, Snapshot, WaitPolicy};

use crate::bodies::calls::{Call, Files, Means, consume, produce};
use crate::common::random::any;
use crate::memory::Fenced;
use crate::outcomes::{Outcomes, Verdict, timed};
use fastrand::Rng;

/// The time limit of a blocking call.
pub(crate) const LIMIT: Duration = Duration::from_millis(15);
/// Longer than the smallest rings are.
pub(crate) const MOST: usize = 6000;
/// Every call of a producer, with two lengths for what it likes.
pub(crate) const PRODUCERS: [fn(usize, usize) -> Call; 15] = [
    |len, _| Call::Write(len),
    |len, _| Call::Send(len),
    |len, _| Call::SendAll(len),
    |len, _| Call::WriteParts(vec![len, MOST]),
    |len, _| Call::WriteDeadline(len),
    |len, part| Call::Reserve(len.min(4096), part),
    |len, part| Call::ReserveUpTo(len, part),
    |len, part| Call::ReserveDeadline(len.min(4096), part),
    |len, _| Call::Fill(len),
    |_, _| Call::Flush,
    |_, part| Call::Batch(part),
    |len, _| Call::Room(len),
    |_, _| Call::CheckPeer(Role::Producer),
    |_, _| Call::Consumed,
    |len, part| Call::Look(Role::Producer, policy(len, part)),
];

/// The same of a consumer.
pub(crate) const CONSUMERS: [fn(usize, usize) -> Call; 14] = [
    |len, _| Call::Read(len),
    |len, _| Call::Receive(len),
    |len, _| Call::ReadParts(vec![len / 3, len - len / 3]),
    |len, _| Call::ReadDeadline(len),
    |len, _| Call::ReadExactDeadline(len),
    |len, part| Call::Peek(len.min(4096), part),
    |len, part| Call::PeekUpTo(len, part),
    |len, part| Call::PeekDeadline(len.min(4096), part),
    |len, _| Call::Drain(len),
    |_, _| Call::Available,
    |_, _| Call::NextStream,
    |_, _| Call::CheckPeer(Role::Consumer),
    |_, _| Call::NextStream, // twice as often
    |len, part| Call::Look(Role::Consumer, policy(len, part)),
];

fn policy(len: usize, part: usize) -> WaitPolicy {
    match part % 4 {
        0 => WaitPolicy::Spin,
        1 => WaitPolicy::SpinThenPark(Duration::from_micros(len as u64 / 50)),
        _ => WaitPolicy::Park,
    }
}

fn call(random: &mut Rng, calls: &[fn(usize, usize) -> Call]) -> Call {
    any(random, calls)(len(random), len(random))
}

fn len(random: &mut Rng) -> usize {
    let most = any(random, &[8, 300, MOST]);
    random.usize(..=most)
}

thread_local! {
    static ZERO: File = File::open("/dev/zero").unwrap();
    static NULL: File = File::create("/dev/null").unwrap();
}

/// Runs `work` with what a call has to go by: within its limit, with devices.
fn with_means<T>(work: impl FnOnce(Means<'_>) -> T) -> T {
    ZERO.with(|zero| {
        NULL.with(|null| {
            work(Means {
                deadline: Instant::now() + LIMIT,
                files: Files::Devices { zero, null },
                is_alone: false,
            })
        })
    })
}

/// A look at the ring of a handle beside its own.
fn look(id: SegmentId, outcomes: &mut Outcomes) {
    timed("looking", Duration::ZERO, || match Snapshot::of(id) {
        Ok(ring) => {
            assert!(ring.fill <= ring.capacity);
            outcomes.add("looked");
        }
        Err(_) => outcomes.add("not looked"),
    });
}

/// Makes one call of a producer; gives back what ends the handle.
pub(crate) fn call_producer(
    producer: &mut Producer,
    call: &Call,
    outcomes: &mut Outcomes,
) -> Verdict {
    static BYTES: [u8; 2 * MOST] = [0x5a; 2 * MOST];
    let mut make = |call: &Call| {
        let bytes = &BYTES[..call.len()];
        let answer = timed("a call of the producer", LIMIT, || {
            with_means(|means| produce(producer, call, bytes, means))
        });
        answer.check(call, producer.capacity());
        if let Call::Look(..) = call {
            look(producer.id().unwrap(), outcomes);
        }
        outcomes.judge(answer.into_io(call))
    };
    let verdict = make(call);
    if let Some(broken @ Broken::Corrupted(_)) = &verdict {
        for call in [
            Call::Write(1),
            Call::Send(MOST),
            Call::Reserve(1, 0),
            Call::Room(1),
            Call::Fill(1),
            Call::CheckPeer(Role::Producer),
        ] {
            assert_eq!(make(&call).as_ref(), Some(broken), "for good");
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
    call: &Call,
    outcomes: &mut Outcomes,
) -> Verdict {
    let mut make = |call: &Call| {
        let mut fenced = Fenced::new(call.len());
        let buffer = fenced.first(call.len());
        let answer = timed("a call of the consumer", LIMIT, || {
            with_means(|means| consume(consumer, call, buffer, means))
        });
        fenced.check(call.len());
        answer.check(call, consumer.capacity());
        if let Call::Look(..) = call {
            look(consumer.id().unwrap(), outcomes);
        }
        outcomes.judge(answer.into_io(call))
    };
    let verdict = make(call);
    if let Some(broken @ Broken::Corrupted(_)) = &verdict {
        for call in [
            Call::Read(1),
            Call::Receive(1),
            Call::Peek(1, 0),
            Call::Available,
            Call::Drain(1),
            Call::CheckPeer(Role::Consumer),
            Call::NextStream,
        ] {
            assert_eq!(make(&call).as_ref(), Some(broken), "for good");
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
        if call_producer(&mut producer, &call(random, &PRODUCERS), outcomes).is_some() {
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
        match call_consumer(&mut consumer, &call(random, &CONSUMERS), outcomes) {
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
