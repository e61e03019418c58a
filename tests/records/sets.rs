//! Readers and writers of messages as members of a set.
#![allow(unsafe_code)] // poll

use std::os::fd::AsRawFd;

use shmpipe::records::{RecordReader, RecordWriter};
use shmpipe::{Broken, RecordError, WaitSet};

use crate::common::{End, Fork, alone, kill_self, options, page, split, until};

/// Eight processes write records, one of them dies, and one reader gets all by the set.
#[test]
fn a_set_of_readers_gets_the_records_of_eight_processes() {
    const RECORDS: u32 = 500;
    alone(
        "sets::a_set_of_readers_gets_the_records_of_eight_processes",
        || {
            let ring = || options().capacity(page()).create_anonymous().unwrap();
            let mut rings: Vec<_> = (0..8).map(|_| Some(ring())).collect();
            let mut children: Vec<_> = (0..8)
                .map(|who| {
                    Fork::new(|| {
                        let ring = rings[who].take().unwrap();
                        let mut writer = RecordWriter::new(ring.into_producer().unwrap());
                        for number in 0..RECORDS {
                            writer.write(&number.to_le_bytes()).unwrap();
                        }
                        match who {
                            0 => kill_self(),
                            _ => writer.into_inner().close().unwrap(),
                        }
                    })
                })
                .collect();
            let take =
                |ring: &mut Option<shmpipe::Ring>| ring.take().unwrap().into_consumer().unwrap();
            let mut set: WaitSet<_> = rings.iter_mut().map(take).map(RecordReader::new).collect();
            let (mut next, mut deaths, mut record) = ([0_u32; 8], 0, Vec::new());
            while let Some(key) = set.wait().unwrap() {
                match set[key].try_read(&mut record) {
                    Ok(true) => {
                        assert_eq!(record, next[key].to_le_bytes());
                        next[key] += 1;
                    }
                    Ok(false) => drop(set.remove(key)),
                    Err(RecordError::WouldBlock) => {}
                    Err(RecordError::Broken(Broken::Died { .. })) => {
                        assert_eq!(key, 0);
                        deaths += 1;
                        set.remove(key);
                    }
                    Err(error) => panic!("{error}"),
                }
            }
            assert_eq!((next, deaths), ([RECORDS; 8], 1));
            for (who, child) in children.iter_mut().enumerate() {
                let end = [End::Exit(0), End::Signal(libc::SIGKILL)][usize::from(who == 0)];
                assert_eq!(child.wait(), end);
            }
        },
    );
}

fn is_readable(descriptor: &impl AsRawFd) -> bool {
    let mut watched = libc::pollfd {
        fd: descriptor.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one `pollfd`, which outlives the call.
    unsafe { libc::poll(&raw mut watched, 1, 0) == 1 }
}

/// Waits until the descriptor is readable, for a generous time.
fn until_readable(descriptor: &impl AsRawFd) {
    until(|| is_readable(descriptor));
}

#[test]
fn a_reader_lends_a_descriptor() {
    let (producer, consumer) = split(page());
    let (mut writer, reader) = (RecordWriter::new(producer), RecordReader::new(consumer));
    let mut set = WaitSet::from(reader);
    let descriptor = set.poll_fd().unwrap();
    let mut record = Vec::new();
    for _ in 0..3 {
        assert_eq!(set[0].try_read(&mut record), Err(RecordError::WouldBlock));
        assert_eq!(set.try_wait(), Ok(None));
        assert!(!is_readable(&descriptor));
        writer.write(b"a record").unwrap();
        until_readable(&descriptor);
        assert_eq!(set.try_wait(), Ok(Some(0)));
        assert_eq!(set[0].try_read(&mut record), Ok(true));
        assert_eq!(record, b"a record");
    }
}

#[test]
fn a_writer_waits_for_room_for_its_record() {
    let (producer, consumer) = split(page());
    let record = vec![7; page() / 2 - 4];
    let mut set = WaitSet::from(RecordWriter::new(producer));
    set.set_low_water_mark(0, 4 + record.len());
    for _ in 0..2 {
        assert_eq!(set.try_wait(), Ok(Some(0)));
        set[0].try_write(&record).unwrap();
    }
    assert_eq!(set.try_wait(), Ok(None));
    let mut reader = RecordReader::new(consumer);
    assert_eq!(reader.read(&mut Vec::new()), Ok(true));
    assert_eq!(set.wait(), Ok(Some(0)));
    set[0].try_write(&record).unwrap();
}

#[cfg(feature = "zerocopy")]
#[test]
fn typed_messages_can_be_in_a_set() {
    use shmpipe::records::{MessageReader, MessageWriter};

    let (producer, consumer) = split(page());
    let mut writers = WaitSet::from(MessageWriter::<u64>::new(producer, "numbers"));
    let mut readers = WaitSet::from(MessageReader::<u64>::new(consumer, "numbers"));
    assert_eq!(readers.try_wait(), Ok(None));
    assert_eq!(writers.wait(), Ok(Some(0)));
    writers[0].write(&7).unwrap();
    assert_eq!(readers.wait(), Ok(Some(0)));
    assert_eq!(readers[0].read(), Ok(Some(7)));
    assert_eq!(readers.try_wait(), Ok(None));
    drop(writers);
    assert_eq!(readers.wait(), Ok(Some(0)));
    assert_eq!(readers[0].read(), Ok(None));
}
