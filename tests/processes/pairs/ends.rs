//! Processes that end or are killed.

use std::io::{ErrorKind, Read, Write};
use std::thread;

use shmpipe::Broken;

use super::{SEED, anonymous, send};
use crate::common::{End, Fork, PATIENCE, Task, alone, check, kill_self};

#[test]
fn a_killed_writer_is_an_error_after_its_last_byte() {
    alone(
        "pairs::ends::a_killed_writer_is_an_error_after_its_last_byte",
        || {
            let mut ring = Some(anonymous(4096));
            let child = Fork::new(|| {
                let mut producer = ring.take().unwrap().into_producer().unwrap();
                send(&mut producer, SEED, 3000, 3000);
                thread::sleep(PATIENCE);
            });
            let mut consumer = ring.take().unwrap().into_consumer().unwrap();
            let mut bytes = [0; 3000];
            consumer.read_exact(&mut bytes[..1000]).unwrap();
            child.kill();
            consumer.read_exact(&mut bytes[1000..]).unwrap();
            check(SEED, 0, &bytes);
            for _ in 0..2 {
                let error = consumer.read(&mut bytes).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::BrokenPipe);
                let broken = error.get_ref().unwrap().downcast_ref::<Broken>();
                assert!(matches!(broken, Some(&Broken::Died { pid, .. }) if pid == child.pid()));
            }
        },
    );
}

#[test]
fn a_killed_reader_breaks_a_write_that_waits() {
    alone(
        "pairs::ends::a_killed_reader_breaks_a_write_that_waits",
        || {
            let mut ring = Some(anonymous(4096));
            let mut child = Fork::new(|| {
                let mut consumer = ring.take().unwrap().into_consumer().unwrap();
                consumer.read_exact(&mut [0; 100]).unwrap();
                Task::parent().until_asleep();
                kill_self();
            });
            let mut producer = ring.take().unwrap().into_producer().unwrap();
            producer.write_all(&[1; 100]).unwrap();
            let written = producer.write(&[2; 1 << 20]).unwrap();
            assert!(written <= 2 * 4096, "{written}");
            let error = producer.write(&[3]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::BrokenPipe);
            assert_eq!(child.wait(), End::Signal(libc::SIGKILL));
        },
    );
}

#[test]
fn a_child_that_ends_before_it_takes_its_role_is_noticed() {
    let test = "pairs::ends::a_child_that_ends_before_it_takes_its_role_is_noticed";
    alone(test, || {
        let ring = anonymous(4096);
        let mut child = Fork::new(|| {});
        assert_eq!(child.wait(), End::Exit(0));
        let mut consumer = ring.into_consumer().unwrap();
        let error = consumer.read(&mut [0]).unwrap_err();
        let broken = error.get_ref().unwrap().downcast_ref::<Broken>();
        assert!(matches!(broken, Some(Broken::NeverCame { .. })), "{error}");
    });
}
