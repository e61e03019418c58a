//! The handles with the traits and tools of std, and what they show.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::thread;

use shmpipe::{Broken, OpenError, Role, TryWriteError};

use super::{anonymous, split};
use crate::common::{PATIENCE, options};

#[test]
fn the_handles_work_with_the_tools_of_std() {
    let text = "first\nsecond\n\nlast";
    let (mut producer, consumer) = split();
    io::copy(&mut text.as_bytes(), &mut producer).unwrap();
    producer.flush().unwrap();
    producer.close().unwrap();
    let lines: io::Result<Vec<String>> = BufReader::new(consumer).lines().collect();
    assert_eq!(lines.unwrap(), ["first", "second", "", "last"]);

    let (mut producer, mut consumer) = split();
    let copying = thread::spawn(move || io::copy(&mut io::repeat(7).take(100_000), &mut producer));
    let mut head = [0; 10];
    consumer.read_exact(&mut head).unwrap();
    let mut tail = Vec::new();
    assert_eq!(consumer.read_to_end(&mut tail).unwrap(), 99_990);
    assert!(head.iter().chain(&tail).all(|&byte| byte == 7));
    assert_eq!(copying.join().unwrap().unwrap(), 100_000);
    let error = consumer.read_exact(&mut head).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
}

#[test]
fn handles_can_be_sent_to_other_threads() {
    fn assert_send<T: Send + 'static>(value: T) -> T {
        value
    }
    let _ring = assert_send(anonymous());
    let (producer, consumer) = split();
    let (mut producer, mut consumer) = (assert_send(producer), assert_send(consumer));
    for turn in 0..3 {
        producer = thread::spawn(move || producer.write_all(&[turn]).map(|()| producer))
            .join()
            .unwrap()
            .unwrap();
        consumer = thread::spawn(move || {
            let mut byte = [9];
            consumer.read_exact(&mut byte).unwrap();
            assert_eq!(byte, [turn]);
            consumer
        })
        .join()
        .unwrap();
    }
}

#[test]
fn handles_and_errors_can_be_shown() {
    let ring = anonymous();
    assert!(format!("{ring:?}").contains("4096"));
    let (mut producer, mut consumer) = ring.split().unwrap();
    assert!(format!("{producer:?}").starts_with("Producer"));
    assert!(format!("{consumer:?}").starts_with("Consumer"));
    assert!(format!("{:?}", options()).contains("capacity"));
    assert!(format!("{:?}", producer.stats()).contains("sleeps"));
    for text in [
        consumer.try_read(&mut [0]).unwrap_err().to_string(),
        TryWriteError::Full.to_string(),
        Broken::Closed.to_string(),
        OpenError::Cancelled.to_string(),
    ] {
        assert!(!text.is_empty() && !text.ends_with('.'), "{text}");
    }
    producer.close().unwrap();
    consumer.close().unwrap();
    let _ = (format!("{producer:?}"), format!("{consumer:?}"));
}

#[test]
fn roles_are_read_and_occupants_and_life_cycles_are_shown() {
    for role in [Role::Producer, Role::Consumer] {
        assert_eq!(role.to_string().parse(), Ok(role));
    }
    for wrong in ["", "Producer", "producer ", "both"] {
        assert_eq!(wrong.parse::<Role>(), Err(shmpipe::error::InvalidRole));
    }
    let (producer, consumer) = split();
    let pid = std::process::id();
    assert_eq!(producer.peer().to_string(), format!("process {pid}"));
    let ring = shmpipe::Snapshot::of(producer.id().unwrap()).unwrap();
    assert_eq!(ring.life_cycle.to_string(), "anonymous");
    drop(consumer);
    assert_eq!(producer.peer().to_string(), "left");
}

/// An id for logs expects nobody: where the only one who could come has gone, that
/// is still noticed.
#[test]
fn an_id_for_logs_hands_nothing_over() {
    let ring = options().create_anonymous().unwrap();
    let id = ring.id_for_log();
    let mut consumer = ring.into_consumer().unwrap();
    assert_eq!(consumer.id_for_log(), id);
    consumer.set_timeout(Some(PATIENCE));
    let error = consumer.read(&mut [0]).unwrap_err();
    let role = Role::Producer;
    assert_eq!(Broken::find(&error), Some(&Broken::NeverCame { role }));
}
