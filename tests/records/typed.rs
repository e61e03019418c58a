//! Values of one type: as many as there are, whole ones only, and none of another type.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::Own;
use crate::common::{End, Fork, TempPath, alone, kill_self, once_asleep, options, page, split};
use shmpipe::records::{MessageReader, MessageWriter};
use shmpipe::{Broken, Options, RecordError, Role};

/// 12 bytes: no power of two, so that it lies anywhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct Tick {
    number: u32,
    twice: u32,
    other: [u16; 2],
}

impl Tick {
    fn new(number: u32) -> Tick {
        Tick {
            number,
            twice: number.wrapping_mul(2),
            other: [number as u16, 7],
        }
    }
}

const NAME: &str = "tick/1";

fn ticks(numbers: std::ops::Range<u32>) -> Vec<Tick> {
    numbers.map(Tick::new).collect()
}

fn pair() -> (MessageWriter<Tick>, MessageReader<Tick>) {
    let (producer, consumer) = split(page());
    let writer = MessageWriter::new(producer, NAME);
    (writer, MessageReader::new(consumer, NAME))
}

/// A page holds a preamble of 16 bytes, and 340 ticks.
const FIRST: usize = 340;

#[test]
fn as_many_as_there_are_and_whole_ones_only() {
    assert_eq!((page() - 16) / 12, FIRST, "on pages of 4 KiB");
    let (mut writer, mut reader) = pair();
    let mut read = [Tick::default(); 1000];
    assert_eq!(
        reader.try_read_slice(&mut read),
        Err(RecordError::WouldBlock)
    );
    assert_eq!(writer.try_write_slice(&ticks(0..1000)), Ok(FIRST));
    assert_eq!(
        writer.try_write_slice(&ticks(0..1)),
        Err(RecordError::WouldBlock)
    );
    assert_eq!(reader.try_read_slice(&mut read[..40]), Ok(40));
    assert_eq!(reader.try_read_slice(&mut read[40..]), Ok(FIRST - 40));
    assert_eq!(read[..FIRST], ticks(0..340));
    assert_eq!(
        writer.try_write_slice(&ticks(340..1000)),
        Ok(341),
        "without a preamble"
    );
    assert_eq!(reader.read_slice(&mut read), Ok(341));
    assert_eq!(read[..341], ticks(340..681));
    assert_eq!(writer.try_write_slice(&[]), Ok(0));
    assert_eq!(reader.try_read_slice(&mut []), Ok(0));

    // A part of a message is none.
    writer
        .get_mut()
        .write_all(&Tick::new(7).as_bytes()[..11])
        .unwrap();
    assert_eq!(
        reader.try_read_slice(&mut read),
        Err(RecordError::WouldBlock)
    );
    writer
        .get_mut()
        .write_all(&Tick::new(7).as_bytes()[11..])
        .unwrap();
    assert_eq!(reader.read(), Ok(Some(Tick::new(7))));
    drop(writer);
    assert_eq!(reader.read(), Ok(None));
    assert_eq!(reader.read_slice(&mut read), Ok(0));
}

#[test]
fn messages_that_wrap_in_own_memory_arrive_whole() {
    for capacity in [32, 64, 4096] {
        let own = Own::new(capacity);
        let (producer, consumer) = own.ends();
        let mut writer = MessageWriter::<Tick>::new(producer, NAME);
        let mut reader = MessageReader::<Tick>::new(consumer, NAME);
        let (mut sent, mut read) = (0, 0);
        let mut random = fastrand::Rng::with_seed(capacity as u64);
        let mut some = [Tick::default(); 20];
        while read < 5000 {
            let some_more = ticks(sent..sent + random.u32(1..20));
            if let Ok(count) = writer.try_write_slice(&some_more) {
                assert!(count > 0);
                sent += count as u32;
            }
            let most = random.usize(1..some.len());
            if let Ok(count) = reader.try_read_slice(&mut some[..most]) {
                assert_eq!(some[..count], ticks(read..read + count as u32));
                read += count as u32;
            }
        }
    }
}

#[test]
fn a_ring_that_cannot_hold_a_message_says_so() {
    let own = Own::new(16);
    let (producer, _consumer) = own.ends();
    let mut writer = MessageWriter::<Tick>::new(producer, NAME);
    let too_long = RecordError::TooLong { len: 28, most: 16 };
    assert_eq!(writer.write(&Tick::new(1)), Err(too_long));
}

#[test]
fn messages_of_another_type_are_refused_and_nothing_is_lost() {
    let (mut writer, reader) = pair();
    writer.write(&Tick::new(1)).unwrap();
    let consumer = reader.into_inner();

    let mut other = MessageReader::<u64>::new(consumer, NAME);
    for _ in 0..2 {
        let error = other.read().unwrap_err();
        assert!(
            matches!(error, RecordError::OtherMessage { expected: (8, a), found: Some((12, b)) }
                if a == b),
            "{error:?}"
        );
    }
    let mut other = MessageReader::<Tick>::new(other.into_inner(), "tick/2");
    let error = other.read().unwrap_err();
    assert!(
        matches!(error, RecordError::OtherMessage { expected: (12, a), found: Some((12, b)) }
            if a != b),
        "{error:?}"
    );
    let mut right = MessageReader::<Tick>::new(other.into_inner(), NAME);
    assert_eq!(right.read(), Ok(Some(Tick::new(1))));

    let (mut producer, consumer) = split(page());
    producer.write_all(b"no messages, but a text").unwrap();
    let mut reader = MessageReader::<Tick>::new(consumer, NAME);
    let error = reader.read().unwrap_err();
    assert!(
        matches!(error, RecordError::OtherMessage { found: None, .. }),
        "{error:?}"
    );
    let mut text = [0; 23];
    reader.get_mut().read_exact(&mut text).unwrap();
    assert_eq!(&text, b"no messages, but a text");
}

#[test]
fn a_stream_that_ends_within_a_message_is_an_error() {
    let cut = |wanted, available, broken| RecordError::Cut {
        wanted,
        available,
        broken,
    };
    let (mut writer, mut reader) = pair();
    writer.write(&Tick::new(1)).unwrap();
    writer.get_mut().write_all(&[7; 5]).unwrap();
    writer.get_mut().abort();
    assert_eq!(reader.read(), Ok(Some(Tick::new(1))));
    let aborted = Some(Broken::ProducerAborted);
    assert_eq!(reader.read(), Err(cut(12, 5, aborted)));
    assert_eq!(reader.get_mut().available(), Ok(5));

    let (mut producer, consumer) = split(page());
    producer.write_all(b"msg").unwrap();
    drop(producer);
    let mut reader = MessageReader::<Tick>::new(consumer, NAME);
    assert_eq!(reader.read(), Err(cut(16, 3, None)));

    // Where somebody has read a part of one, too.
    let (mut writer, mut reader) = pair();
    writer.write_slice(&ticks(0..3)).unwrap();
    reader.read().unwrap();
    reader.get_mut().read_exact(&mut [0; 5]).unwrap();
    let (position, size) = (16 + 12 + 5, 12);
    assert_eq!(
        reader.read(),
        Err(RecordError::Misplaced { position, size })
    );
    let (mut producer, _consumer) = split(page());
    producer.write_all(b"text").unwrap();
    let mut writer = MessageWriter::<Tick>::new(producer, NAME);
    let position = 4;
    assert_eq!(
        writer.write(&Tick::new(1)),
        Err(RecordError::Misplaced { position, size })
    );
}

fn persistent() -> Options {
    let mut options = options();
    options.persistent(true).capacity(page()).resume(true);
    options
}

#[test]
fn each_stream_of_a_persistent_ring_begins_with_its_type() {
    let path = TempPath::new();
    for number in [1, 2] {
        let producer = persistent().open_producer(&path).unwrap();
        let mut writer = MessageWriter::<Tick>::new(producer, NAME);
        writer.write_slice(&ticks(number..number + 2)).unwrap();
    }
    let producer = persistent().open_producer(&path).unwrap();
    let mut other = MessageWriter::<u64>::new(producer, NAME);
    other.write(&9).unwrap();
    drop(other);

    let reader = || MessageReader::<Tick>::new(persistent().open_consumer(&path).unwrap(), NAME);
    let mut first = reader();
    assert_eq!(first.read(), Ok(Some(Tick::new(1))));
    drop(first); // in the middle of the stream
    let mut second = reader();
    assert_eq!(second.read(), Ok(Some(Tick::new(2))));
    assert_eq!(second.read(), Ok(None));
    assert_eq!(second.get_mut().next_stream(), Ok(true));
    assert_eq!(second.read(), Ok(Some(Tick::new(2))));
    assert_eq!(second.read(), Ok(Some(Tick::new(3))));
    assert_eq!(second.read(), Ok(None));
    assert_eq!(second.get_mut().next_stream(), Ok(true));
    let error = second.read().unwrap_err();
    assert!(
        matches!(error, RecordError::OtherMessage { .. }),
        "{error:?}"
    );
}

/// The successor continues behind the last whole message.
#[test]
fn a_killed_writer_leaves_whole_messages_and_a_place_to_resume() {
    let test = "typed::a_killed_writer_leaves_whole_messages_and_a_place_to_resume";
    alone(test, || {
        let path = TempPath::new();
        for first in [0, 100, 200] {
            let mut writer = Fork::new(|| {
                let producer = persistent().open_producer(&path).unwrap();
                let mut writer = MessageWriter::<Tick>::new(producer, NAME);
                writer.write_slice(&ticks(first..first + 100)).unwrap();
                let mut room = writer.get_mut().reserve(12).unwrap();
                room.write_all(b"half").unwrap();
                kill_self();
            });
            assert!(matches!(writer.wait(), End::Signal(_)));
        }
        let consumer = persistent().open_consumer(&path).unwrap();
        let mut reader = MessageReader::<Tick>::new(consumer, NAME);
        let mut read = [Tick::default(); 400];
        assert_eq!(reader.read_slice(&mut read), Ok(300));
        assert_eq!(read[..300], ticks(0..300));
        let error = reader.read().unwrap_err();
        assert!(
            matches!(
                error,
                RecordError::Broken(Broken::Died {
                    role: Role::Producer,
                    ..
                })
            ),
            "{error:?}"
        );
    });
}

#[test]
fn calls_wait_as_long_as_they_are_told() {
    let (mut writer, mut reader) = pair();
    let soon = Instant::now() + Duration::from_millis(20);
    let mut read = [Tick::default(); 400];
    let timed_out = RecordError::TimedOut;
    assert_eq!(
        reader.read_slice_deadline(&mut read, soon),
        Err(timed_out.clone())
    );
    writer.write_slice(&ticks(0..340)).unwrap();
    assert_eq!(
        writer.write_deadline(&Tick::new(340), soon),
        Err(timed_out.clone())
    );
    reader
        .get_mut()
        .set_timeout(Some(Duration::from_millis(20)));
    let (written, count) = once_asleep(
        || writer.write_slice(&ticks(340..1000)),
        |_| {
            let mut count = 0;
            while count < 1000 {
                let some = reader.read_slice(&mut read).unwrap();
                assert_eq!(read[..some], ticks(count..count + some as u32));
                count += some as u32;
            }
            count
        },
    );
    assert_eq!((written, count), (Ok(()), 1000));
    assert_eq!(reader.read(), Err(timed_out));
    // The first message does not take the preamble with it before it is whole.
    let (mut producer, consumer) = split(page());
    let mut preamble = [0; 16];
    preamble.copy_from_slice(&b"\x0c\0\0\0msg1........"[..]);
    producer.write_all(&preamble).unwrap();
    let mut reader = MessageReader::<Tick>::new(consumer, NAME);
    assert!(matches!(
        reader.read(),
        Err(RecordError::OtherMessage { .. })
    ));
    assert_eq!(reader.get_mut().available(), Ok(16));
}
