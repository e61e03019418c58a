//! Checks that calls that do not block make no system call, unless a sleeper must be woken.
//! The calls run under a filter that kills the process at its next system call.
#![allow(unsafe_code)] // seccomp(2)

use std::cell::RefCell;
use std::io::{IoSlice, IoSliceMut, Read, Write};
use std::time::{Duration, Instant};

use shmpipe::{Consumer, Options, Producer, TryReadError, TryWriteError, WaitPolicy, WaitSet};

use crate::common::{End, Fork, TempPath, alone, exit_now, filter, not_run, options, page};

/// From here on every system call but exit(2) is SIGSYS. `false` where the
/// kernel has no filters.
fn forbid_system_calls() -> bool {
    filter::install(&mut [
        filter::load(filter::CALL),
        filter::unless_equal(libc::SYS_exit as u32, 1),
        filter::give(libc::SECCOMP_RET_ALLOW),
        filter::give(libc::SECCOMP_RET_KILL_PROCESS),
    ])
}

const NO_FILTERS: i32 = 77;

/// Runs `body` in a child that may make no system call, not even to say why it
/// fails. `None` where that cannot be had.
fn without_system_calls(
    prepare: impl FnOnce() -> (Producer, Consumer),
    body: impl FnOnce(&mut Producer, &mut Consumer),
) -> Option<End> {
    let mut child = Fork::new(|| {
        let (mut producer, mut consumer) = prepare();
        if !forbid_system_calls() {
            exit_now(NO_FILTERS);
        }
        body(&mut producer, &mut consumer);
        // SAFETY: an integer; the process has one thread.
        unsafe { libc::syscall(libc::SYS_exit, 0) };
    });
    let end = child.wait();
    if end == End::Exit(NO_FILTERS) {
        not_run("this kernel has no seccomp filters");
        return None;
    }
    Some(end)
}

/// A ring without a time limit: one would have the clock asked.
fn pair() -> (Producer, Consumer) {
    let mut options = Options::new();
    options
        .capacity(page())
        .create_anonymous()
        .unwrap()
        .split()
        .unwrap()
}

#[test]
fn calls_that_do_not_block_make_no_system_call() {
    alone(
        "syscalls::calls_that_do_not_block_make_no_system_call",
        || {
            let end = without_system_calls(pair, |producer, consumer| {
                let all = [7; 64 << 10];
                let mut bytes = [0; 512];
                for _ in 0..10_000 {
                    assert_eq!(producer.try_write(&bytes), Ok(512));
                    producer.try_reserve(300).unwrap().commit_all();
                    producer.try_reserve_up_to(9).unwrap().commit(3);
                    assert_eq!(producer.write(&bytes[..7]).unwrap(), 7);
                    let parts = [IoSlice::new(b"parts"), IoSlice::new(b"!")];
                    assert_eq!(producer.write_vectored(&parts).unwrap(), 6);
                    producer.flush().unwrap();
                    assert_eq!(consumer.available(), Ok(828));
                    assert_eq!(consumer.try_read(&mut bytes), Ok(512));
                    consumer.try_peek(300).unwrap().consume_all();
                    consumer.try_peek_up_to(3).unwrap().consume(3);
                    assert_eq!(consumer.read(&mut bytes[..7]).unwrap(), 7);
                    let mut parts = [IoSliceMut::new(&mut bytes[..6])];
                    assert_eq!(consumer.read_vectored(&mut parts).unwrap(), 6);
                    assert_eq!(consumer.try_read(&mut bytes), Err(TryReadError::Empty));
                    assert!(consumer.try_peek(1).is_err() && consumer.try_peek_up_to(1).is_err());
                }
                let capacity = producer.capacity();
                assert_eq!(producer.try_write(&all), Ok(capacity));
                for _ in 0..10_000 {
                    assert_eq!(producer.try_write(b"x"), Err(TryWriteError::Full));
                    assert!(
                        producer.try_reserve(1).is_err() && producer.try_reserve_up_to(1).is_err()
                    );
                    assert_eq!(producer.room(), Ok(0));
                    assert!(!producer.is_closed() && !consumer.is_closed());
                }
            });
            assert!(matches!(end, None | Some(End::Exit(0))), "{end:?}");
        },
    );
}

/// A wait of a set that finds a member ready at its first look, with or without a deadline, and a
/// try that finds none.
#[test]
fn a_set_with_a_ready_member_makes_no_system_call() {
    alone(
        "syscalls::a_set_with_a_ready_member_makes_no_system_call",
        || {
            let deadline = Instant::now();
            let rings = RefCell::new(None);
            let prepare = || {
                let (producers, consumers): (Vec<_>, Vec<_>) = (0..200).map(|_| pair()).unzip();
                let set: WaitSet = consumers.into_iter().collect();
                *rings.borrow_mut() = Some((set, producers));
                pair()
            };
            let end = without_system_calls(prepare, |_, _| {
                let mut rings = rings.borrow_mut();
                let (set, producers) = rings.as_mut().unwrap();
                for round in 0..5_000 {
                    let key = round % producers.len();
                    assert_eq!(set.try_wait(), Ok(None));
                    producers[key].try_write(b"xy").unwrap();
                    assert_eq!(set.try_wait(), Ok(Some(key)));
                    assert_eq!(set.wait(), Ok(Some(key)));
                    assert_eq!(set[key].try_read(&mut [0]), Ok(1));
                    assert_eq!(set.wait_deadline(deadline), Ok(Some(key)));
                    assert_eq!(set[key].try_read(&mut [0]), Ok(1));
                }
            });
            assert!(matches!(end, None | Some(End::Exit(0))), "{end:?}");
        },
    );
}

#[test]
fn a_system_call_is_the_end_of_the_child() {
    alone("syscalls::a_system_call_is_the_end_of_the_child", || {
        let end = without_system_calls(pair, |producer, _| {
            let _ = producer.check_peer(); // asks the kernel
        });
        assert!(
            matches!(end, None | Some(End::Signal(libc::SIGSYS))),
            "{end:?}"
        );
    });
}

#[test]
fn a_sleeper_is_woken_with_a_system_call() {
    alone("syscalls::a_sleeper_is_woken_with_a_system_call", || {
        let path = TempPath::new();
        let mut options = options();
        options
            .capacity(page())
            .wait_policy(WaitPolicy::Park)
            .persistent(true);
        let mut consumer = options.open_consumer(&path).unwrap();
        let mut writing = Fork::new(|| {
            let mut producer = options.open_producer(&path).unwrap();
            crate::common::until(|| {
                shmpipe::Options::new()
                    .snapshot(&path)
                    .unwrap()
                    .consumer_sleeps
            });
            if !forbid_system_calls() {
                exit_now(NO_FILTERS);
            }
            // Between two slices the sleeper is awake: more than one try.
            for _ in 0..1000 {
                producer.try_write(b"x").unwrap();
                let until = Instant::now() + Duration::from_millis(3);
                while Instant::now() < until {}
            }
        });
        let mut bytes = [0; 1001];
        let read = consumer.read_exact(&mut bytes);
        assert!(read.is_err(), "the writer was to end in the middle");
        let end = writing.wait();
        let expected = [End::Exit(NO_FILTERS), End::Signal(libc::SIGSYS)];
        assert!(expected.contains(&end), "{end:?}");
    });
}
