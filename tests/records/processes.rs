//! Records between processes, one of which is killed.

use std::io::Write;

use crate::common::{End, Fork, alone, kill_self, once_asleep, options, page, stream};
use shmpipe::records::{RecordReader, RecordWriter};
use shmpipe::{Broken, RecordError, Ring, Role};

fn ring() -> Option<Ring> {
    Some(options().capacity(page()).create_anonymous().unwrap())
}

/// Record `number`, whose length has little to do with the page.
fn record(number: u64) -> Vec<u8> {
    stream(number, 0, (number * 97 % 1500) as usize)
}

#[test]
fn records_of_a_killed_writer_are_whole_or_not_there() {
    let test = "processes::records_of_a_killed_writer_are_whole_or_not_there";
    alone(test, || {
        for round in 0..40 {
            let mut ring = ring();
            let mut writer = Fork::new(|| {
                let producer = ring.take().unwrap().into_producer().unwrap();
                let mut writer = RecordWriter::new(producer);
                for number in 0_u64.. {
                    writer.write(&record(number)).unwrap();
                    let mut room = writer.reserve(1000).unwrap();
                    room.write_all(b"in the mid").unwrap();
                    drop(room);
                }
            });
            let consumer = ring.take().unwrap().into_consumer().unwrap();
            let (mut reader, mut bytes) = (RecordReader::new(consumer), Vec::new());
            let mut number = 0;
            let why = loop {
                match reader.read(&mut bytes) {
                    Ok(true) => assert!(bytes == record(number), "record {number}"),
                    Ok(false) => panic!("a killed writer never looks finished"),
                    Err(why) => break why,
                }
                if number == round {
                    writer.kill();
                }
                number += 1;
            };
            let died = Broken::Died {
                role: Role::Producer,
                pid: writer.pid(),
            };
            assert_eq!(why, RecordError::Broken(died));
            assert!(matches!(writer.wait(), End::Signal(_)));
        }
    });
}

#[test]
fn a_killed_reader_breaks_a_write_that_waits() {
    let test = "processes::a_killed_reader_breaks_a_write_that_waits";
    alone(test, || {
        let mut ring = ring();
        let mut reader = Fork::new(|| {
            let consumer = ring.take().unwrap().into_consumer().unwrap();
            let mut reader = RecordReader::new(consumer);
            let mut batch = reader.batch().unwrap().unwrap();
            batch.next_record().unwrap();
            std::thread::sleep(crate::common::PATIENCE); // holds the batch
        });
        let producer = ring.take().unwrap().into_producer().unwrap();
        let mut writer = RecordWriter::new(producer);
        writer.get_mut().wait_for_peer().unwrap();
        let most = writer.most();
        writer.write(&vec![7; most]).unwrap();
        let (written, ()) = once_asleep(|| writer.write(b"more"), |_| reader.kill());
        let died = Broken::Died {
            role: Role::Consumer,
            pid: reader.pid(),
        };
        assert_eq!(written, Err(RecordError::Broken(died)));
        reader.wait();
    });
}

/// A batch is consumed or not, so that the next reader gets all of it again.
#[test]
fn the_records_of_a_killed_reader_come_again() {
    let test = "processes::the_records_of_a_killed_reader_come_again";
    alone(test, || {
        let path = crate::common::TempPath::new();
        let mut options = options();
        options.persistent(true).capacity(page());
        let mut writer = RecordWriter::new(options.open_producer(&path).unwrap());
        for number in 0..3 {
            writer.write(&[number]).unwrap();
        }
        let mut reader = Fork::new(|| {
            let mut reader = RecordReader::new(options.open_consumer(&path).unwrap());
            let mut bytes = Vec::new();
            assert_eq!(reader.read(&mut bytes), Ok(true));
            let mut batch = reader.batch().unwrap().unwrap();
            while batch.next_record().is_some() {}
            kill_self();
        });
        assert!(matches!(reader.wait(), End::Signal(_)));
        let mut reader = RecordReader::new(options.open_consumer(&path).unwrap());
        for number in 1..3 {
            let mut bytes = Vec::new();
            assert_eq!(reader.read(&mut bytes), Ok(true));
            assert_eq!(bytes, [number]);
        }
    });
}
