//! Records of any length: what arrives, what is refused, and what stays.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::Own;
use crate::common::{End, Fork, TempPath, alone, once_asleep, options, page, split, stream};
use shmpipe::records::{RecordReader, RecordWriter};
use shmpipe::{Broken, Producer, RecordError};

fn pair() -> (RecordWriter, RecordReader) {
    let (producer, consumer) = split(page());
    (RecordWriter::new(producer), RecordReader::new(consumer))
}

/// A header with this length, as anybody may write it.
fn write_header(producer: &mut Producer, len: u32) {
    producer.write_all(&len.to_le_bytes()).unwrap();
}

#[track_caller]
fn next(reader: &mut RecordReader) -> Vec<u8> {
    let mut record = Vec::new();
    assert_eq!(reader.try_read(&mut record), Ok(true));
    record
}

/// Every way to write, and every way to read, over every place of a ring.
fn all_arrive(mut writer: RecordWriter, mut reader: RecordReader, rounds: u64) {
    let most = writer.most();
    let (mut random, mut sent) = (fastrand::Rng::with_seed(7), 0);
    let (mut written, mut read) = (Vec::new(), Vec::new());
    while read.len() < rounds as usize {
        let upto = [most, most / 2, 3][random.usize(..3)].min(most);
        let len = random.usize(..=upto);
        let record = stream(sent, 0, len);
        let put = match random.bool() {
            true => writer.try_write(&record),
            false => writer
                .try_reserve(random.usize(len..=most))
                .map(|mut room| {
                    let half = len / 2;
                    room.write_all(&record[..half]).unwrap();
                    room.write_all(&record[half..]).unwrap();
                    assert_eq!(room.written(), len);
                    room.commit();
                }),
        };
        match put {
            Ok(()) => {
                written.push(record);
                sent += 1;
            }
            Err(RecordError::WouldBlock) => {}
            Err(error) => panic!("{error}"),
        }
        if random.bool() {
            let mut record = Vec::new();
            while reader.try_read(&mut record).is_ok() {
                read.push(record.clone());
            }
        } else if let Ok(batch) = reader.try_batch() {
            let (mut batch, take) = (batch.unwrap(), random.usize(..4));
            for _ in 0..take {
                let Some(record) = batch.next_record() else {
                    break;
                };
                read.push(record.to_vec());
            }
            batch.consume();
        }
        assert_eq!(read, written[..read.len()]);
    }
}

#[test]
fn records_of_every_length_arrive_whole() {
    let (writer, reader) = pair();
    all_arrive(writer, reader, 2000);
}

#[test]
fn records_that_wrap_in_own_memory_arrive_whole() {
    for capacity in [8, 64, 4096] {
        let own = Own::new(capacity);
        let (producer, consumer) = own.ends();
        let (writer, reader) = (RecordWriter::new(producer), RecordReader::new(consumer));
        all_arrive(writer, reader, 2000);
    }
}

#[test]
fn a_ring_that_cannot_hold_a_length_holds_no_record() {
    for capacity in [1, 2, 4] {
        let own = Own::new(capacity);
        let (producer, consumer) = own.ends();
        let mut writer = RecordWriter::new(producer);
        let too_long = Err(RecordError::TooLong { len: 1, most: 0 });
        assert_eq!(writer.try_write(&[7]), too_long);
        let written = writer.try_write(&[]);
        if capacity == 4 {
            assert_eq!(written, Ok(()));
            assert_eq!(next(&mut RecordReader::new(consumer)), []);
        } else {
            assert!(matches!(written, Err(RecordError::TooLong { .. })));
            let read = RecordReader::new(consumer).try_read(&mut Vec::new());
            assert!(matches!(read, Err(RecordError::TooLong { .. })), "{read:?}");
        }
    }
}

#[test]
fn a_record_beyond_the_maximum_is_refused_and_nothing_is_lost() {
    let (mut writer, mut reader) = pair();
    let most = page() - 4;
    assert_eq!((writer.most(), reader.most()), (most, most));
    let too_long = |len, most| Err::<(), _>(RecordError::TooLong { len, most });
    assert_eq!(writer.write(&vec![7; most + 1]), too_long(most + 1, most));
    writer.set_most(usize::MAX);
    assert_eq!(writer.most(), most, "no more than the ring holds");
    writer.set_most(10);
    assert_eq!(writer.write(&[7; 11]), too_long(11, 10));
    assert_eq!(writer.reserve(11).map(drop), too_long(11, 10));
    assert_eq!(writer.get_ref().position(), 0);

    writer.write(&[7; 10]).unwrap();
    reader.set_most(9);
    let mut record = b"as it was".to_vec();
    for _ in 0..2 {
        assert_eq!(reader.read(&mut record).map(drop), too_long(10, 9));
        assert_eq!(reader.batch().map(drop), too_long(10, 9));
    }
    assert_eq!(record, b"as it was");
    reader.set_most(10);
    assert_eq!(next(&mut reader), [7; 10]);
}

#[test]
fn a_length_that_lies_is_refused_and_stays() {
    for lie in [page() as u32 - 3, 1 << 31, u32::MAX] {
        let (mut producer, consumer) = split(page());
        write_header(&mut producer, lie);
        producer.write_all(&[7; 100]).unwrap();
        let mut reader = RecordReader::new(consumer);
        let most = page() - 4;
        let len = lie as usize;
        let read = reader.read(&mut Vec::new());
        assert_eq!(read, Err(RecordError::TooLong { len, most }));
        let mut bytes = [0; 104];
        reader.get_mut().read_exact(&mut bytes).unwrap(); // to be judged by hand
        assert_eq!(bytes[..4], lie.to_le_bytes());
    }
}

#[test]
fn a_batch_ends_before_what_it_cannot_return() {
    let (mut writer, mut reader) = pair();
    writer.write(b"good").unwrap();
    writer.write(b"too long").unwrap();
    reader.set_most(4);
    let mut batch = reader.batch().unwrap().unwrap();
    assert_eq!(batch.next_record().unwrap().to_vec(), b"good");
    assert!(batch.next_record().is_none());
    assert!(batch.next_record().is_none());
    batch.consume();
    let most = 4;
    let refused = RecordError::TooLong { len: 8, most };
    assert_eq!(reader.batch().unwrap_err(), refused);

    // Half of a record, and of a length, are no record yet.
    let (mut writer, mut reader) = pair();
    writer.write(b"whole").unwrap();
    write_header(writer.get_mut(), 3);
    let mut batch = reader.batch().unwrap().unwrap();
    assert!(batch.next_record().is_some());
    assert!(batch.next_record().is_none());
    batch.consume();
    assert_eq!(reader.try_batch().unwrap_err(), RecordError::WouldBlock);
    writer.get_mut().write_all(b"yes\x01\0").unwrap();
    let mut batch = reader.batch().unwrap().unwrap();
    assert_eq!(batch.next_record().unwrap().to_vec(), b"yes");
    assert!(batch.next_record().is_none());
    batch.consume();
    assert_eq!(reader.get_mut().available(), Ok(2));
}

#[test]
fn a_batch_that_is_dropped_has_consumed_nothing() {
    let (mut writer, mut reader) = pair();
    for record in [b"one", b"two"] {
        writer.write(record).unwrap();
    }
    let mut batch = reader.batch().unwrap().unwrap();
    while batch.next_record().is_some() {}
    drop(batch);
    let mut batch = reader.batch().unwrap().unwrap();
    batch.next_record().unwrap();
    batch.consume(); // what was returned
    assert_eq!(next(&mut reader), b"two");

    // A record that wraps, too.
    let own = Own::new(64);
    let (producer, consumer) = own.ends();
    let (mut writer, mut reader) = (RecordWriter::new(producer), RecordReader::new(consumer));
    writer.write(&[7; 40]).unwrap();
    next(&mut reader);
    writer.write(&stream(1, 0, 40)).unwrap();
    for _ in 0..2 {
        let mut batch = reader.batch().unwrap().unwrap();
        let record = batch.next_record().unwrap();
        assert_eq!((record.len(), record.to_vec()), (40, stream(1, 0, 40)));
        assert!(batch.next_record().is_none());
    }
    let batch = reader.batch().unwrap().unwrap();
    batch.consume(); // none was returned
    assert_eq!(next(&mut reader), stream(1, 0, 40));
}

#[test]
fn a_record_grant_that_is_dropped_writes_nothing() {
    let (mut writer, mut reader) = pair();
    writer.reserve(10).unwrap().write_all(b"never").unwrap();
    let mut room = writer.reserve(10).unwrap();
    let error = room.write_all(b"longer than it").unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::WriteZero);
    assert_eq!((room.written(), room.rest()), (10, 0));
    drop(room);
    assert_eq!(writer.get_ref().position(), 0);
    writer.reserve(10).unwrap().commit(); // an empty record
    assert_eq!(next(&mut reader), []);
}

#[test]
#[should_panic(expected = "bytes 2 to 6 of a record of 5 bytes")]
fn beyond_the_end_of_a_record_is_a_panic() {
    let (mut writer, mut reader) = pair();
    writer.write(b"short").unwrap();
    writer.write(b"the next one").unwrap();
    let mut batch = reader.batch().unwrap().unwrap();
    batch.next_record().unwrap().read_at(&mut [0; 4], 2);
}

/// The end of a stream is told apart from a stream that was cut.
#[test]
fn a_stream_that_ends_within_a_record_is_an_error() {
    for (bytes, wanted) in [
        (&b"\x05\0"[..], 4),
        (b"\x05\0\0\0", 9),
        (b"\x05\0\0\0four", 9),
    ] {
        let available = bytes.len();
        for aborts in [false, true] {
            let (mut writer, mut reader) = pair();
            writer.write(b"whole").unwrap();
            writer.get_mut().write_all(bytes).unwrap();
            match aborts {
                true => writer.get_mut().abort(),
                false => writer.get_mut().close().unwrap(),
            }
            assert_eq!(next(&mut reader), b"whole");
            let broken = aborts.then_some(Broken::ProducerAborted);
            let cut = RecordError::Cut {
                wanted,
                available,
                broken,
            };
            for _ in 0..2 {
                assert_eq!(reader.read(&mut Vec::new()), Err(cut.clone()));
                assert_eq!(reader.batch().unwrap_err(), cut);
            }
            let mut rest = vec![0; available];
            reader.get_mut().read_exact(&mut rest).unwrap();
            assert_eq!(rest, bytes, "nothing is lost");
        }
    }
    let (mut writer, mut reader) = pair();
    writer.get_mut().abort();
    let broken = RecordError::Broken(Broken::ProducerAborted);
    assert_eq!(reader.read(&mut Vec::new()), Err(broken));
    let (writer, mut reader) = pair();
    drop(writer);
    assert_eq!(reader.read(&mut Vec::new()), Ok(false));
    assert!(reader.batch().unwrap().is_none());
}

/// In a persistent ring, marks divide the streams.
#[test]
fn a_record_that_a_mark_cuts_is_an_error_and_the_next_stream_follows() {
    let path = TempPath::new();
    let mut options = options();
    options.persistent(true).capacity(page());
    let mut producer = options.open_producer(&path).unwrap();
    RecordWriter::new(producer).write(b"first").unwrap();
    producer = options.open_producer(&path).unwrap();
    producer.write_all(b"\x09\0\0\0cut").unwrap();
    drop(producer);
    let mut writer = RecordWriter::new(options.open_producer(&path).unwrap());
    writer.write(b"last").unwrap();
    drop(writer);

    let mut reader = RecordReader::new(options.open_consumer(&path).unwrap());
    let mut record = Vec::new();
    assert_eq!(next(&mut reader), b"first");
    assert_eq!(reader.read(&mut record), Ok(false));
    // A reader that got the end acknowledges it, as one of bytes does.
    drop(reader);
    let mut reader = RecordReader::new(options.open_consumer(&path).unwrap());
    let cut = RecordError::Cut {
        wanted: 13,
        available: 7,
        broken: None,
    };
    assert_eq!(reader.read(&mut record), Err(cut));
    std::io::copy(reader.get_mut(), &mut std::io::sink()).unwrap();
    assert_eq!(reader.get_mut().next_stream(), Ok(true));
    assert_eq!(next(&mut reader), b"last");
    assert_eq!(reader.read(&mut record), Ok(false));
}

#[test]
fn calls_wait_as_long_as_they_are_told() {
    let (mut writer, mut reader) = pair();
    let limit = Duration::from_millis(20);
    reader.get_mut().set_timeout(Some(limit));
    writer.get_mut().set_timeout(Some(limit));
    let mut record = Vec::new();
    let timed_out = RecordError::TimedOut;
    assert_eq!(reader.read(&mut record), Err(timed_out.clone()));
    assert_eq!(reader.batch().unwrap_err(), timed_out);
    let soon = Instant::now() + limit;
    assert_eq!(
        reader.read_deadline(&mut record, soon),
        Err(timed_out.clone())
    );
    assert_eq!(reader.batch_deadline(soon).unwrap_err(), timed_out);
    let long = vec![7; writer.most()];
    writer.write(&long).unwrap();
    assert_eq!(writer.write(b""), Err(timed_out.clone()));
    assert_eq!(writer.write_deadline(b"", soon), Err(timed_out.clone()));
    assert_eq!(writer.reserve(0).unwrap_err(), timed_out);
    assert_eq!(writer.try_write(b""), Err(RecordError::WouldBlock));

    writer.get_mut().set_timeout(None);
    let (written, ()) = once_asleep(
        || writer.write(b"next"),
        |_| assert_eq!(next(&mut reader), long),
    );
    assert_eq!((written, next(&mut reader)), (Ok(()), b"next".to_vec()));
    reader.get_mut().set_timeout(None);
    // Woken by a part, it goes on waiting for the whole.
    let (read, ()) = once_asleep(
        || reader.read(&mut record),
        |waiting| {
            write_header(writer.get_mut(), 2);
            waiting.until_it_waits();
            writer.get_mut().write_all(b"hi").unwrap();
        },
    );
    assert_eq!((read, record.as_slice()), (Ok(true), &b"hi"[..]));
}

#[test]
fn a_batch_of_the_producer_holds_records_back() {
    let (mut writer, mut reader) = pair();
    writer.get_mut().set_batch(page());
    writer.write(b"one").unwrap();
    writer.write(b"two").unwrap();
    assert_eq!(
        reader.try_read(&mut Vec::new()),
        Err(RecordError::WouldBlock)
    );
    writer.get_mut().flush().unwrap();
    assert_eq!(
        (next(&mut reader), next(&mut reader)),
        (b"one".to_vec(), b"two".to_vec())
    );
}

/// A stranger rewrites a length again and again while it is read. Each call uses one value.
#[test]
fn a_length_that_changes_while_it_is_read_is_read_once() {
    let own = Own::new(page());
    let (mut producer, consumer) = own.ends();
    producer.write_all(&vec![0; page()]).unwrap();
    let mut reader = RecordReader::new(consumer);
    reader.set_most(100);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let header = own.memory.at(page());
            while !done.load(Ordering::Relaxed) {
                for len in [3, 100, 101, 255] {
                    // SAFETY: inside the mapping, and volatile.
                    #[allow(unsafe_code)]
                    unsafe {
                        header.as_ptr().write_volatile(len)
                    };
                }
            }
        });
        for _ in 0..20_000 {
            match reader.try_batch() {
                Ok(batch) => {
                    let mut batch = batch.unwrap();
                    let record = batch.next_record().unwrap();
                    assert!([0, 3, 100].contains(&record.len()), "{}", record.len());
                    assert_eq!(record.to_vec().len(), record.len());
                }
                Err(RecordError::TooLong { len, most: 100 }) => assert!([101, 255].contains(&len)),
                Err(error) => panic!("{error}"),
            }
        }
        done.store(true, Ordering::Relaxed);
    });
}

/// Found in review: a record that wraps was lost if the consumer left between its
/// reserve and its commit. Later records then arrived, with a hole before them.
#[test]
fn a_record_that_wraps_waits_for_the_next_consumer() {
    let own = Own::new(64);
    let (producer, consumer) = own.ends();
    let mut writer = RecordWriter::new(producer);
    let mut reader = RecordReader::new(consumer);
    writer.write(&[1; 40]).unwrap();
    assert_eq!(next(&mut reader), [1; 40]);
    let mut record = writer.reserve(30).unwrap();
    record.write_all(&[2; 30]).unwrap();
    drop(reader);
    record.commit();
    let ring = own.memory.attach(&own.options).unwrap();
    let mut reader = RecordReader::new(ring.into_consumer().unwrap());
    assert_eq!(next(&mut reader), [2; 30]);
    writer.write(b"after").unwrap();
    assert_eq!(next(&mut reader), b"after");
}

/// Found in review: the child's writes to its copy of a grant returned `Ok`, and went nowhere.
#[test]
fn a_forked_copy_of_a_grant_refuses_writes() {
    alone("records::a_forked_copy_of_a_grant_refuses_writes", || {
        let refuses = |writer: &mut RecordWriter, len| {
            let mut record = writer.reserve(len).unwrap();
            let mut child = Fork::new(|| {
                let error = record.write(b"x").unwrap_err();
                assert_eq!(Broken::find(&error), Some(&Broken::Inherited));
            });
            assert_eq!(child.wait(), End::Exit(0));
            record.write_all(b"of the parent").unwrap();
            record.commit();
        };
        let (mut writer, mut reader) = pair();
        refuses(&mut writer, 100);
        assert_eq!(next(&mut reader), b"of the parent");
        // In the bounce buffer, for a record that wraps.
        let own = Own::new(64);
        let (producer, consumer) = own.ends();
        let (mut writer, mut reader) = (RecordWriter::new(producer), RecordReader::new(consumer));
        writer.write(&[1; 40]).unwrap();
        assert_eq!(next(&mut reader), [1; 40]);
        refuses(&mut writer, 30);
        assert_eq!(next(&mut reader), b"of the parent");
    });
}

/// Found in review: the end of a stream that was broken off was never acknowledged, so that each
/// later reader got it again.
#[test]
fn a_broken_end_that_was_read_is_acknowledged() {
    let path = TempPath::new();
    let mut options = options();
    options
        .persistent(true)
        .wait_for_peer(false)
        .capacity(page());
    let mut writer = RecordWriter::new(options.open_producer(&path).unwrap());
    writer.write(b"one").unwrap();
    writer.get_mut().abort();
    drop(writer);
    let mut reader = RecordReader::new(options.open_consumer(&path).unwrap());
    assert_eq!(next(&mut reader), b"one");
    for _ in 0..2 {
        let broken = reader.try_read(&mut Vec::new());
        assert_eq!(broken, Err(RecordError::Broken(Broken::ProducerAborted)));
    }
    drop(reader);
    let mut writer = RecordWriter::new(options.open_producer(&path).unwrap());
    writer.write(b"two").unwrap();
    let mut reader = RecordReader::new(options.open_consumer(&path).unwrap());
    assert_eq!(next(&mut reader), b"two");
    drop((writer, reader));
    options.force_remove(&path).unwrap();
}

/// Found in review: the handle's time limit held for the length and for the record, each.
#[test]
fn the_time_limit_is_one_for_the_whole_record() {
    const LIMIT: Duration = Duration::from_secs(2);
    let (mut producer, mut consumer) = split(page());
    consumer.set_timeout(Some(LIMIT));
    let mut reader = RecordReader::new(consumer);
    let start = Instant::now();
    let reading = std::thread::spawn(move || {
        let timed_out = reader.read(&mut Vec::new()).unwrap_err();
        (timed_out, Instant::now())
    });
    std::thread::sleep(LIMIT * 3 / 4);
    let sent = Instant::now();
    write_header(&mut producer, 9);
    let (error, end) = reading.join().unwrap();
    assert!(matches!(error, RecordError::TimedOut), "{error:?}");
    // A busy machine may have let the limit pass before the length was sent.
    assert!(
        end - sent < LIMIT || sent - start >= LIMIT,
        "{:?}",
        end - start
    );
}
