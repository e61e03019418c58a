//! Nothing piles up, and removal does not disturb a stream.

use std::io::{Read, Write};
use std::process::Command;

use shmpipe::{Consumer, OpenError, Producer};

use super::{options, unshare};
use crate::common::{End, Fork, TempPath, alone, not_run, until_gone};

fn address_space() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').next().unwrap().parse().unwrap()
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn a_hundred_thousand_rings_leave_nothing() {
    alone(
        "liveness::leftovers::a_hundred_thousand_rings_leave_nothing",
        || {
            const CYCLES: usize = 100_000;
            let path = TempPath::new();
            let mut last = None;
            let mut cycle = |number: usize| {
                if number.is_multiple_of(5) {
                    let mut producer = options().wait_for_peer(false).open_producer(&path).unwrap();
                    let mut consumer = options().open_consumer(&path).unwrap();
                    stream(&mut producer, &mut consumer);
                    last = Some(consumer.id().unwrap());
                } else {
                    let (mut producer, mut consumer) =
                        options().create_anonymous().unwrap().split().unwrap();
                    stream(&mut producer, &mut consumer);
                    last = Some(consumer.id().unwrap());
                }
            };
            (0..100).for_each(&mut cycle); // what is allocated once is allocated
            let before = (address_space(), descriptors());
            (0..CYCLES).for_each(&mut cycle);
            assert_eq!((address_space(), descriptors()), before);
            until_gone(last.unwrap());
            assert!(!path.leads_to_a_segment());
            println!(
                "{CYCLES} rings made, paired and dropped: address space and descriptors as before"
            );
        },
    );
}

fn stream(producer: &mut Producer, consumer: &mut Consumer) {
    assert_eq!(producer.try_write(b"ring"), Ok(4));
    let mut bytes = [0; 8];
    assert_eq!(consumer.try_read(&mut bytes), Ok(4));
}

#[test]
fn forced_removal_changes_nothing_but_persistence() {
    alone(
        "liveness::leftovers::forced_removal_changes_nothing_but_persistence",
        || {
            const FORCED: &str = "/proc/sys/kernel/shm_rmid_forced";
            if !unshare(libc::CLONE_NEWIPC) {
                return;
            }
            if std::fs::write(FORCED, "1").is_err() {
                return not_run("kernel.shm_rmid_forced cannot be set");
            }
            let path = TempPath::new();
            let mut child = Fork::new(|| {
                let mut producer = options().open_producer(&path).unwrap();
                producer.write_all(&[7; 100_000]).unwrap();
            });
            let mut bytes = Vec::new();
            options()
                .open_consumer(&path)
                .unwrap()
                .read_to_end(&mut bytes)
                .unwrap();
            assert_eq!(bytes, [7; 100_000]);
            assert_eq!(child.wait(), End::Exit(0));

            let (mut producer, mut consumer) =
                options().create_anonymous().unwrap().split().unwrap();
            stream(&mut producer, &mut consumer);

            let error = options().persistent(true).open_producer(&path).unwrap_err();
            assert!(matches!(error, OpenError::CannotPersist), "{error}");
        },
    );
}

#[test]
fn removal_in_mid_stream_loses_nothing() {
    alone(
        "liveness::leftovers::removal_in_mid_stream_loses_nothing",
        || {
            for persistent in [false, true] {
                let path = TempPath::new();
                let mut options = options();
                options.persistent(persistent);
                let mut child = Fork::new(|| {
                    let mut producer = options.open_producer(&path).unwrap();
                    producer.write_all(&[7; 1_000_000]).unwrap();
                });
                let mut consumer = options.open_consumer(&path).unwrap();
                consumer.read_exact(&mut [0; 1000]).unwrap();
                let id = consumer.id().unwrap().to_string();
                assert!(
                    Command::new("ipcrm")
                        .args(["-m", &id])
                        .status()
                        .unwrap()
                        .success()
                );
                let mut bytes = Vec::new();
                consumer.read_to_end(&mut bytes).unwrap();
                assert_eq!(bytes, [7; 999_000]);
                assert_eq!(child.wait(), End::Exit(0));
            }
        },
    );
}
