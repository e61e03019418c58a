//! Bytes between processes and threads: who meets whom, and that every byte
//! arrives once and in its place.
#![allow(unsafe_code)] // futexes, and words of a segment

use std::io::{self, ErrorKind, Read, Write};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::thread;

use crate::common::offsets::{SIGNALS, SLEEPING, WANTED};
use crate::common::{
    End, Exec, Fork, PATIENCE, Task, TempPath, alone, check, kill_self, options, part, sleeps,
    stream, unique, until,
};
use shmpipe::sysv::{self, Attachment, SegmentId};
use shmpipe::{Broken, Consumer, Producer, Ring, Role};

const SEED: u64 = 0x5eed;

/// Writes the first `len` bytes of the stream of `seed` in blocks of `block`.
fn send(producer: &mut Producer, seed: u64, len: usize, block: usize) {
    let mut position = 0;
    while position < len {
        let bytes = stream(seed, position as u64, block.min(len - position));
        // One call takes it all, however large it is.
        assert_eq!(producer.write(&bytes).unwrap(), bytes.len());
        position += bytes.len();
    }
}

/// Reads to the end, in blocks of at most `block`, and checks that it is the
/// first `len` bytes of the stream of `seed`.
fn receive(consumer: &mut Consumer, seed: u64, len: usize, block: usize) {
    let mut bytes = vec![0; block];
    let mut position = 0;
    loop {
        let read = consumer.read(&mut bytes).unwrap();
        if read == 0 {
            break;
        }
        check(seed, position, &bytes[..read]);
        position += read as u64;
    }
    assert_eq!(position, len as u64);
}

fn anonymous(capacity: usize) -> Ring {
    options().capacity(capacity).create_anonymous().unwrap()
}

/// A child that is exec'ed and shares nothing with this process but the path.
/// It plays `role`: the other end of the ring that [`play`] plays.
fn stranger(test: &str, role: &str, path: &TempPath) -> Exec {
    Exec::new(test, &format!("{role} {}", path.display()))
}

/// Plays a part that [`stranger`] gave.
fn play(part: &str) {
    const LEN: usize = 1_000_003;
    let (role, path) = part.split_once(' ').unwrap();
    let mut options = options();
    options.capacity(16 << 10);
    match role {
        "producer" => send(&mut options.open_producer(path).unwrap(), SEED, LEN, 7_777),
        "consumer" => receive(&mut options.open_consumer(path).unwrap(), SEED, LEN, 5_003),
        _ => panic!("no role is called {role}"),
    }
}

/// Two strangers, the one with `first` waiting for the other.
fn meet(test: &str, first: &str, second: &str) {
    if let Some(part) = part() {
        return play(&part);
    }
    let path = TempPath::new();
    let mut waiting = stranger(test, first, &path);
    until(|| path.leads_to_a_segment());
    let mut joining = stranger(test, second, &path);
    assert!(joining.wait().success());
    assert!(waiting.wait().success());
    assert!(!path.leads_to_a_segment());
}

#[test]
fn unrelated_processes_meet_by_path_writer_first() {
    let test = "pairs::unrelated_processes_meet_by_path_writer_first";
    meet(test, "producer", "consumer");
}

#[test]
fn unrelated_processes_meet_by_path_reader_first() {
    let test = "pairs::unrelated_processes_meet_by_path_reader_first";
    meet(test, "consumer", "producer");
}

#[test]
fn unrelated_processes_that_start_at_once_meet_by_path() {
    let test = "pairs::unrelated_processes_that_start_at_once_meet_by_path";
    if let Some(part) = part() {
        return play(&part);
    }
    let path = TempPath::new();
    for _ in 0..10 {
        let mut both = ["producer", "consumer"].map(|role| stranger(test, role, &path));
        for process in &mut both {
            assert!(process.wait().success());
        }
        assert!(!path.leads_to_a_segment());
    }
}

#[test]
fn a_forked_child_writes_to_its_parent() {
    alone("pairs::a_forked_child_writes_to_its_parent", || {
        let ring = anonymous(8 << 10);
        let id = ring.id().unwrap();
        let mut ring = Some(ring);
        let mut child = Fork::new(|| {
            let mut producer = ring.take().unwrap().into_producer().unwrap();
            send(&mut producer, SEED, 500_000, 1_234);
        });
        let mut consumer = ring.take().unwrap().into_consumer().unwrap();
        receive(&mut consumer, SEED, 500_000, 10_000);
        assert_eq!(child.wait(), End::Exit(0));
        drop(consumer);
        assert!(sysv::stat(id).is_err(), "the segment has gone");
    });
}

#[test]
fn a_parent_writes_to_its_forked_child() {
    alone("pairs::a_parent_writes_to_its_forked_child", || {
        let mut ring = Some(anonymous(8 << 10));
        let mut child = Fork::new(|| {
            let mut consumer = ring.take().unwrap().into_consumer().unwrap();
            receive(&mut consumer, SEED, 500_000, 999);
        });
        let mut producer = ring.take().unwrap().into_producer().unwrap();
        send(&mut producer, SEED, 500_000, 20_000);
        producer.close().unwrap();
        assert_eq!(child.wait(), End::Exit(0));
    });
}

#[test]
fn parent_and_child_talk_over_two_rings() {
    alone("pairs::parent_and_child_talk_over_two_rings", || {
        let mut rings = Some((anonymous(4096), anonymous(4096)));
        let mut child = Fork::new(|| {
            let (there, back) = rings.take().unwrap();
            let mut from = there.into_consumer().unwrap();
            let mut to = back.into_producer().unwrap();
            assert_eq!(io::copy(&mut from, &mut to).unwrap(), 200 * 100);
        });
        let (there, back) = rings.take().unwrap();
        let mut to = there.into_producer().unwrap();
        let mut from = back.into_consumer().unwrap();
        for round in 0..200 {
            let question = stream(SEED, round * 100, 100);
            to.write_all(&question).unwrap();
            let mut answer = [0; 100];
            from.read_exact(&mut answer).unwrap();
            assert_eq!(answer, question[..]);
        }
        to.close().unwrap();
        assert_eq!(from.read(&mut [0]).unwrap(), 0);
        assert_eq!(child.wait(), End::Exit(0));
    });
}

#[test]
fn a_child_started_by_exec_is_given_the_id() {
    let test = "pairs::a_child_started_by_exec_is_given_the_id";
    if let Some(part) = part() {
        let (role, id) = part.split_once(' ').unwrap();
        let ring = options().attach(id.parse().unwrap()).unwrap();
        match role {
            "producer" => send(&mut ring.into_producer().unwrap(), SEED, 300_000, 50),
            _ => receive(&mut ring.into_consumer().unwrap(), SEED, 300_000, 50),
        }
        return;
    }
    let ring = anonymous(4096);
    let mut child = Exec::new(test, &format!("producer {}", ring.id().unwrap()));
    receive(&mut ring.into_consumer().unwrap(), SEED, 300_000, 4096);
    assert!(child.wait().success());

    let ring = anonymous(4096);
    let mut child = Exec::new(test, &format!("consumer {}", ring.id().unwrap()));
    send(&mut ring.into_producer().unwrap(), SEED, 300_000, 4096);
    assert!(child.wait().success());
}

#[test]
fn two_threads_share_a_split_ring() {
    let (mut producer, mut consumer) = anonymous(32 << 10).split().unwrap();
    thread::scope(|scope| {
        scope.spawn(move || send(&mut producer, SEED, 5_000_000, 30_011));
        scope.spawn(move || receive(&mut consumer, SEED, 5_000_000, 12_345));
    });
}

#[test]
fn one_write_may_be_larger_than_the_ring() {
    alone("pairs::one_write_may_be_larger_than_the_ring", || {
        for capacity in [4096, 64 << 10] {
            let mut ring = Some(anonymous(capacity));
            let mut child = Fork::new(|| {
                let mut producer = ring.take().unwrap().into_producer().unwrap();
                send(&mut producer, SEED, 1_000_001, 1_000_001);
                assert_eq!(producer.position(), 1_000_001);
            });
            let mut consumer = ring.take().unwrap().into_consumer().unwrap();
            // More is asked for than the ring holds, too.
            let mut bytes = vec![0; 1_000_001];
            consumer.read_exact(&mut bytes).unwrap();
            check(SEED, 0, &bytes);
            assert_eq!(consumer.read(&mut [0]).unwrap(), 0);
            assert_eq!(child.wait(), End::Exit(0));
        }
    });
}

#[test]
fn blocks_of_every_size_arrive_whole() {
    alone("pairs::blocks_of_every_size_arrive_whole", || {
        let sizes = [1, 2, 7, 63, 64, 65, 1000, 4095, 4096, 4097, 8192, 65_537];
        for (turn, &written) in sizes.iter().enumerate() {
            for shift in [0, 1, 5, 8] {
                let read = sizes[(turn + shift) % sizes.len()];
                let len = 150_001.min(20_000 * written.min(read));
                let seed = unique();
                let mut ring = Some(anonymous(4096));
                let mut child = Fork::new(|| {
                    let mut producer = ring.take().unwrap().into_producer().unwrap();
                    send(&mut producer, seed, len, written);
                });
                let mut consumer = ring.take().unwrap().into_consumer().unwrap();
                receive(&mut consumer, seed, len, read);
                assert_eq!(child.wait(), End::Exit(0));
            }
        }
    });
}

#[test]
fn rings_of_4_kib_and_of_64_mib_carry_more_than_they_hold() {
    let test = "pairs::rings_of_4_kib_and_of_64_mib_carry_more_than_they_hold";
    alone(test, || {
        for (capacity, len) in [(4096, 1_000_003), (64 << 20, (70 << 20) + 3)] {
            let path = TempPath::new();
            let mut child = Fork::new(|| {
                let mut producer = options().capacity(capacity).open_producer(&path).unwrap();
                assert_eq!(producer.capacity(), capacity);
                send(&mut producer, SEED, len, 100_003);
            });
            let mut consumer = options().open_consumer(&path).unwrap();
            assert_eq!(consumer.capacity(), capacity);
            receive(&mut consumer, SEED, len, 77_777);
            assert_eq!(child.wait(), End::Exit(0));
        }
    });
}

#[test]
fn the_side_that_is_ahead_sleeps_and_the_other_wakes_it() {
    let test = "pairs::the_side_that_is_ahead_sleeps_and_the_other_wakes_it";
    alone(test, || {
        const ROUNDS: usize = 100;
        // Whoever is ahead sleeps before the end.
        let slowly = |round: usize, id, ahead| {
            if round < ROUNDS / 2 {
                until(|| sleeps(id, ahead));
            }
        };

        let mut ring = Some(anonymous(4096));
        let mut slow_reader = Fork::new(|| {
            let mut consumer = ring.take().unwrap().into_consumer().unwrap();
            let id = consumer.id().unwrap();
            let mut bytes = [0; 4096];
            for round in 0..ROUNDS {
                slowly(round, id, Role::Producer);
                consumer.read_exact(&mut bytes).unwrap();
            }
            assert!(consumer.stats().wakes > 0, "{:?}", consumer.stats());
        });
        let mut producer = ring.take().unwrap().into_producer().unwrap();
        send(&mut producer, SEED, 4096 * ROUNDS, 4096);
        assert_eq!(slow_reader.wait(), End::Exit(0));
        assert!(producer.stats().sleeps > 0, "{:?}", producer.stats());

        let mut ring = Some(anonymous(4096));
        let mut slow_writer = Fork::new(|| {
            let mut producer = ring.take().unwrap().into_producer().unwrap();
            let id = producer.id().unwrap();
            for round in 0..ROUNDS {
                slowly(round, id, Role::Consumer);
                producer.write_all(&stream(SEED, round as u64, 1)).unwrap();
            }
            assert!(producer.stats().wakes > 0, "{:?}", producer.stats());
        });
        let mut consumer = ring.take().unwrap().into_consumer().unwrap();
        receive(&mut consumer, SEED, ROUNDS, 4096);
        assert_eq!(slow_writer.wait(), End::Exit(0));
        assert!(consumer.stats().sleeps > 0, "{:?}", consumer.stats());
    });
}

// ---- A wake crosses a process boundary ----

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
    let test = "pairs::a_sleeping_reader_is_found_by_a_wake_from_another_process";
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
    let test = "pairs::a_sleeping_writer_is_found_by_a_wake_from_another_process";
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
    alone("pairs::a_write_wakes_a_reader_of_another_process", || {
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
    });
}

#[test]
fn a_read_wakes_a_writer_only_once_a_quarter_is_free() {
    let test = "pairs::a_read_wakes_a_writer_only_once_a_quarter_is_free";
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

// ---- Ends ----

#[test]
fn a_killed_writer_is_an_error_after_its_last_byte() {
    alone(
        "pairs::a_killed_writer_is_an_error_after_its_last_byte",
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
    alone("pairs::a_killed_reader_breaks_a_write_that_waits", || {
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
    });
}

#[test]
fn a_child_that_ends_before_it_takes_its_role_is_noticed() {
    let test = "pairs::a_child_that_ends_before_it_takes_its_role_is_noticed";
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
