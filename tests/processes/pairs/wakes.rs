//! Wake-ups across a process boundary.
#![allow(unsafe_code)] // futexes, and words of a segment

use std::io::Read;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use shmpipe::sysv::{self, Attachment, SegmentId};

use super::{SEED, anonymous, receive, send};
use crate::common::offsets::{SIGNALS, SLEEPING, WANTED};
use crate::common::{End, Fork, PATIENCE, Task, alone, until};

const PRODUCERS_SIGNALS: usize = SIGNALS[0];

const CONSUMERS_SIGNALS: usize = SIGNALS[1];

/// The words of one side, seen through an attachment of the test's own: to a
/// private futex this is another word than the side's.
struct Words {
    attached: Attachment,
    line: usize,
}

impl Words {
    fn of(id: SegmentId, line: usize) -> Words {
        let attached = sysv::attach(id).unwrap();
        Words { attached, line }
    }

    fn sleeping(&self) -> &AtomicU32 {
        let word = self.attached.as_ptr().wrapping_add(self.line + SLEEPING);
        // SAFETY: aligned, inside the attachment, which outlives the borrow.
        unsafe { AtomicU32::from_ptr(word.cast()) }
    }

    fn wanted(&self) -> &AtomicU64 {
        let word = self.attached.as_ptr().wrapping_add(self.line + WANTED);
        // SAFETY: as above.
        unsafe { AtomicU64::from_ptr(word.cast()) }
    }

    /// `FUTEX_WAKE` without the private flag: how many sleepers it found.
    fn wake(&self) -> i64 {
        let word = self.sleeping().as_ptr();
        // SAFETY: a live word and integers.
        unsafe { libc::syscall(libc::SYS_futex, word, libc::FUTEX_WAKE, i32::MAX) }
    }

    /// `FUTEX_WAIT` without the private flag, while the word is 1. Whether a
    /// wake ended it.
    fn wait(&self) -> bool {
        let word = self.sleeping().as_ptr();
        let limit = libc::timespec {
            tv_sec: PATIENCE.as_secs() as _,
            tv_nsec: 0,
        };
        let wait = libc::FUTEX_WAIT;
        // SAFETY: a live word, integers, and a time that outlives the call.
        unsafe { libc::syscall(libc::SYS_futex, word, wait, 1, &raw const limit) == 0 }
    }
}

#[test]
fn a_sleeping_reader_is_found_by_a_wake_from_another_process() {
    let test = "pairs::wakes::a_sleeping_reader_is_found_by_a_wake_from_another_process";
    alone(test, || {
        let ring = anonymous(4096);
        let words = Words::of(ring.id().unwrap(), CONSUMERS_SIGNALS);
        let mut ring = Some(ring);
        let mut child = Fork::new(|| {
            let mut consumer = ring.take().unwrap().into_consumer().unwrap();
            receive(&mut consumer, SEED, 1, 10);
            assert!(consumer.stats().sleeps > 0);
        });
        // It sleeps in slices: one of the wakes meets it asleep.
        until(|| words.wake() == 1);
        let mut producer = ring.take().unwrap().into_producer().unwrap();
        send(&mut producer, SEED, 1, 1);
        producer.close().unwrap();
        assert_eq!(child.wait(), End::Exit(0));
    });
}

#[test]
fn a_sleeping_writer_is_found_by_a_wake_from_another_process() {
    let test = "pairs::wakes::a_sleeping_writer_is_found_by_a_wake_from_another_process";
    alone(test, || {
        let ring = anonymous(4096);
        let words = Words::of(ring.id().unwrap(), PRODUCERS_SIGNALS);
        let mut ring = Some(ring);
        let mut child = Fork::new(|| {
            let mut producer = ring.take().unwrap().into_producer().unwrap();
            send(&mut producer, SEED, 5000, 5000);
            assert!(producer.stats().sleeps > 0);
        });
        until(|| words.wake() == 1);
        let mut consumer = ring.take().unwrap().into_consumer().unwrap();
        receive(&mut consumer, SEED, 5000, 5000);
        assert_eq!(child.wait(), End::Exit(0));
    });
}

#[test]
fn a_write_wakes_a_reader_of_another_process() {
    alone(
        "pairs::wakes::a_write_wakes_a_reader_of_another_process",
        || {
            // One that was awake by the time it would have slept proves nothing.
            let mut woken = false;
            for _ in 0..100 {
                let ring = anonymous(4096);
                let words = Words::of(ring.id().unwrap(), CONSUMERS_SIGNALS);
                let mut ring = Some(ring);
                let mut child = Fork::new(|| {
                    let mut producer = ring.take().unwrap().into_producer().unwrap();
                    assert_eq!(producer.try_write(b"x"), Ok(1)); // it has come
                    let before = producer.stats().wakes;
                    until(|| words.wanted().load(Ordering::Acquire) == 2);
                    until(|| words.sleeping().load(Ordering::Acquire) == 1);
                    Task::parent().until_asleep();
                    assert_eq!(producer.try_write(b"y"), Ok(1));
                    assert_eq!(producer.stats().wakes, before + 1);
                });
                // This process sleeps as a reader does, but for the slices.
                let mut consumer = ring.take().unwrap().into_consumer().unwrap();
                assert_eq!(consumer.read(&mut [0]).unwrap(), 1);
                words.wanted().store(2, Ordering::Release);
                words.sleeping().store(1, Ordering::Release);
                woken = words.wait();
                assert_eq!(words.sleeping().load(Ordering::Acquire), 0);
                assert_eq!(consumer.try_read(&mut [0]), Ok(1));
                assert_eq!(child.wait(), End::Exit(0));
                if woken {
                    break;
                }
            }
            assert!(woken, "a shared futex is woken");
        },
    );
}

#[test]
fn a_read_wakes_a_writer_only_once_a_quarter_is_free() {
    let test = "pairs::wakes::a_read_wakes_a_writer_only_once_a_quarter_is_free";
    alone(test, || {
        let (mut producer, mut consumer) = anonymous(4096).split().unwrap();
        let words = Words::of(producer.id().unwrap(), PRODUCERS_SIGNALS);
        assert_eq!(producer.try_write(&[1; 4096]), Ok(4096));
        words.wanted().store(1024, Ordering::Relaxed);
        words.sleeping().store(1, Ordering::Release);
        assert_eq!(consumer.try_read(&mut [0; 1023]), Ok(1023));
        assert_eq!(consumer.stats().wakes, 0);
        assert_eq!(consumer.try_read(&mut [0; 1]), Ok(1));
        assert_eq!(consumer.stats().wakes, 1);
        assert_eq!(words.sleeping().load(Ordering::Acquire), 0);
        // Nobody sleeps: no further wake.
        assert_eq!(consumer.try_read(&mut [0; 1024]), Ok(1024));
        assert_eq!(consumer.stats().wakes, 1);
    });
}
