//! Bytes between a ring and a file descriptor, of every kind, whole and in
//! part, and with every way that a descriptor can refuse them.
#![allow(unsafe_code)] // signals, fcntl, seccomp

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{
    End, Fork, PATIENCE, Task, alone, check, filter, once_asleep, options, stream, unique,
};
use shmpipe::{Broken, Consumer, Producer};

const CAPACITY: usize = 4096;

fn split() -> (Producer, Consumer) {
    crate::common::split(CAPACITY)
}

/// A ring whose producer and consumer stand at `position`.
fn split_at(position: usize) -> (Producer, Consumer) {
    let (mut producer, mut consumer) = split();
    producer.write_all(&vec![0; position]).unwrap();
    consumer.read_exact(&mut vec![0; position]).unwrap();
    (producer, consumer)
}

/// A file without a name, open for reading and writing.
fn nameless() -> File {
    let name: PathBuf = std::env::temp_dir().join(format!("shmpipe-transfer-{:016x}", unique()));
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create_new(true).open(&name);
    std::fs::remove_file(&name).unwrap();
    file.unwrap()
}

/// As [`nameless`], with `len` bytes of the stream of `seed`.
fn file_of(seed: u64, len: usize) -> File {
    let mut file = nameless();
    let part = 1 << 20;
    for position in (0..len).step_by(part) {
        let bytes = stream(seed, position as u64, part.min(len - position));
        file.write_all(&bytes).unwrap();
    }
    file.rewind().unwrap();
    file
}

/// Checks that `file` has `len` bytes of the stream of `seed` and no more.
#[track_caller]
fn check_file(mut file: File, seed: u64, len: usize) {
    file.rewind().unwrap();
    let mut bytes = vec![0; 1 << 20];
    let mut position = 0;
    loop {
        let read = file.read(&mut bytes).unwrap();
        if read == 0 {
            break;
        }
        check(seed, position, &bytes[..read]);
        position += read as u64;
    }
    assert_eq!(position, len as u64);
}

fn set_nonblocking(file: impl AsFd) {
    let file = file.as_fd().as_raw_fd();
    // SAFETY: an open descriptor and integers.
    let flags = unsafe { libc::fcntl(file, libc::F_GETFL) };
    // SAFETY: as above.
    let set = unsafe { libc::fcntl(file, libc::F_SETFL, flags | libc::O_NONBLOCK) };
    assert!(flags >= 0 && set == 0);
}

// ---- Kinds of files ----

#[test]
fn a_file_goes_through_a_ring_into_a_file() {
    let len = 100_003;
    for most in [1000, CAPACITY - 1, CAPACITY, usize::MAX] {
        let (mut producer, mut consumer) = split_at(4001);
        let (input, output) = (file_of(1, len), nameless());
        loop {
            let filled = producer.fill_from(&input, most).unwrap();
            assert!(filled <= most.min(CAPACITY));
            if filled == 0 {
                break;
            }
            assert_eq!(consumer.available(), Ok(filled));
            let mut drained = 0;
            while drained < filled {
                drained += consumer.drain_to(&output, most / 2 + 1).unwrap();
            }
        }
        producer.close().unwrap();
        assert_eq!(consumer.drain_to(&output, most).unwrap(), 0);
        check_file(output, 1, len);
    }
}

#[test]
fn one_span_from_every_offset() {
    let (mut producer, mut consumer) = split();
    let (input, output) = (file_of(2, CAPACITY * 300), nameless());
    for position in 0..290 {
        // To another offset each time, across the wrap, in one call.
        assert_eq!(producer.fill_from(&input, 4001).unwrap(), 4001);
        assert_eq!(consumer.drain_to(&output, usize::MAX).unwrap(), 4001);
        assert_eq!(consumer.position(), (position + 1) * 4001);
    }
    check_file(output, 2, 290 * 4001);
}

#[test]
fn pipes_and_sockets_move_what_they_have() {
    let (mut producer, mut consumer) = split_at(4090);
    let (mut pipe_out, pipe_in) = io::pipe().unwrap();
    let (mut socket, other) = UnixStream::pair().unwrap();
    let sent = stream(3, 0, 3000);
    for part in sent.chunks(300) {
        (&pipe_in).write_all(part).unwrap();
        assert_eq!(producer.fill_from(&pipe_out, usize::MAX).unwrap(), 300);
        assert_eq!(consumer.drain_to(&other, usize::MAX).unwrap(), 300);
        let mut bytes = [0; 300];
        socket.read_exact(&mut bytes).unwrap();
        assert_eq!(bytes, part);

        socket.write_all(part).unwrap();
        assert_eq!(producer.fill_from(&other, 200).unwrap(), 200);
        assert_eq!(producer.fill_from(&other, 200).unwrap(), 100);
        assert_eq!(consumer.drain_to(&pipe_in, 299).unwrap(), 299);
        assert_eq!(consumer.drain_to(&pipe_in, 299).unwrap(), 1);
        pipe_out.read_exact(&mut bytes).unwrap();
        assert_eq!(bytes, part);
    }
    drop(pipe_in);
    drop(socket);
    assert_eq!(producer.fill_from(&pipe_out, usize::MAX).unwrap(), 0);
    assert_eq!(producer.fill_from(&other, usize::MAX).unwrap(), 0);
}

#[test]
fn devices_without_an_end_move_as_much_as_the_ring_takes() {
    let (mut producer, mut consumer) = split_at(1234);
    let zero = File::open("/dev/zero").unwrap();
    let null = OpenOptions::new().write(true).open("/dev/null").unwrap();
    for _ in 0..5 {
        assert_eq!(producer.fill_from(&zero, usize::MAX).unwrap(), CAPACITY);
        assert_eq!(producer.room(), Ok(0));
        let mut bytes = [9; 96];
        consumer.read_exact(&mut bytes).unwrap();
        assert_eq!(bytes, [0; 96]);
        assert_eq!(producer.fill_from(&zero, usize::MAX).unwrap(), 96);
        assert_eq!(consumer.drain_to(&null, usize::MAX).unwrap(), CAPACITY);
    }
}

#[test]
fn at_most_nothing_is_nothing() {
    let (mut producer, mut consumer) = split();
    let file = file_of(4, 10);
    let output = nameless();
    assert_eq!(consumer.drain_to(&output, 0).unwrap(), 0); // empty: does not wait
    assert_eq!(producer.fill_from(&file, 0).unwrap(), 0);
    producer.write_all(&[7; CAPACITY]).unwrap();
    assert_eq!(producer.fill_from(&file, 0).unwrap(), 0); // full: does not wait
    assert_eq!(consumer.drain_to(&output, 0).unwrap(), 0);
    assert_eq!((&file).stream_position().unwrap(), 0);
    let positions = (producer.position(), consumer.position());
    assert_eq!(positions, (CAPACITY as u64, 0));
    assert_eq!(producer.stats().sleeps + consumer.stats().sleeps, 0);
}

// ---- Descriptors that refuse ----

#[test]
fn a_descriptor_that_would_block_says_so_and_nothing_is_lost() {
    let (mut producer, mut consumer) = split_at(4000);
    let (mut pipe_out, pipe_in) = io::pipe().unwrap();
    set_nonblocking(&pipe_out);
    set_nonblocking(&pipe_in);
    let error = producer.fill_from(&pipe_out, 100).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    assert_eq!(producer.position(), 4000);

    // Fills the pipe, in part at the end.
    let mut sent = 0;
    let error = loop {
        let bytes = stream(5, sent, 1000);
        producer.write_all(&bytes).unwrap();
        sent += 1000;
        match consumer.drain_to(&pipe_in, usize::MAX) {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    let left = consumer.available().unwrap();
    assert!((1000..2000).contains(&left));
    producer.close().unwrap();
    // Everything comes, in order.
    let mut bytes = Vec::new();
    while bytes.len() < sent as usize {
        let mut part = [0; 5000];
        match pipe_out.read(&mut part) {
            Ok(read) => bytes.extend_from_slice(&part[..read]),
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        match consumer.drain_to(&pipe_in, usize::MAX) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }
    check(5, 0, &bytes);
    assert_eq!(consumer.drain_to(&pipe_in, 1).unwrap(), 0);
}

#[test]
fn what_a_file_refuses_stays_in_the_ring() {
    let (mut producer, mut consumer) = split_at(4000);
    producer.write_all(&stream(6, 0, 500)).unwrap();

    let (pipe_out, pipe_in) = io::pipe().unwrap();
    // Not open for this.
    let errno = |error: io::Error| error.raw_os_error();
    let error = consumer.drain_to(&pipe_out, 500).unwrap_err();
    assert_eq!(errno(error), Some(libc::EBADF));
    let error = producer.fill_from(&pipe_in, 500).unwrap_err();
    assert_eq!(errno(error), Some(libc::EBADF));
    let directory = File::open("/").unwrap();
    let error = producer.fill_from(&directory, 500).unwrap_err();
    assert_eq!(errno(error), Some(libc::EISDIR));
    // Nobody reads.
    drop(pipe_out);
    let error = consumer.drain_to(&pipe_in, 500).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    assert_eq!(errno(error), Some(libc::EPIPE)); // not the ring's
    let (socket, other) = UnixStream::pair().unwrap();
    drop(other);
    let error = consumer.drain_to(&socket, 500).unwrap_err();
    assert_eq!(errno(error), Some(libc::EPIPE));
    // No space.
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let error = consumer.drain_to(&full, 500).unwrap_err();
    assert_eq!(errno(error), Some(libc::ENOSPC));

    assert_eq!((producer.position(), consumer.position()), (4500, 4000));
    let output = nameless();
    assert_eq!(consumer.drain_to(&output, 501).unwrap(), 500);
    check_file(output, 6, 500);
}

#[test]
fn a_file_that_takes_nothing_does_not_look_like_the_end() {
    // The kernel is told to answer this descriptor's writes with 0.
    alone(
        "transfer::a_file_that_takes_nothing_does_not_look_like_the_end",
        || {
            let (mut producer, mut consumer) = split();
            producer.write_all(b"abc").unwrap();
            let output = nameless();
            if !answer_writes_with_zero(output.as_raw_fd()) {
                println!("skipped: this kernel has no seccomp filters");
                return;
            }
            assert_eq!((&output).write(b"x").unwrap(), 0);
            let error = consumer.drain_to(&output, 3).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::WriteZero);
            assert_eq!(consumer.available(), Ok(3));
            assert_eq!(consumer.drain_to(&output, 0).unwrap(), 0);
            producer.close().unwrap();
            consumer.try_peek(3).unwrap().consume_all();
            assert_eq!(consumer.drain_to(&output, 3).unwrap(), 0); // the end
        },
    );
}

fn answer_writes_with_zero(file: i32) -> bool {
    filter::install(&mut [
        filter::load(filter::CALL),
        filter::unless_equal(libc::SYS_write as u32, 3),
        filter::load(filter::low_half(0)),
        filter::unless_equal(file as u32, 1),
        filter::give(libc::SECCOMP_RET_ERRNO), // of error number 0: success
        filter::give(libc::SECCOMP_RET_ALLOW),
    ])
}

static INTERRUPTED: AtomicU32 = AtomicU32::new(0);

extern "C" fn count(_: i32) {
    INTERRUPTED.fetch_add(1, Ordering::Relaxed);
}

#[test]
fn an_interrupted_call_is_made_again() {
    alone("transfer::an_interrupted_call_is_made_again", || {
        // SAFETY: all zero is a valid sigaction: no flags, so no SA_RESTART.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = count as *const () as usize;
        // SAFETY: a valid action, whose handler touches one atomic.
        let set =
            unsafe { libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut()) };
        assert_eq!(set, 0);
        // SAFETY: no arguments.
        let me = unsafe { libc::pthread_self() } as usize;
        let (mut producer, mut consumer) = split();
        let (mut pipe_out, mut pipe_in) = io::pipe().unwrap();
        // Signals this thread once it sleeps, until it is told to stop.
        let done = AtomicBool::new(false);
        let task = Task::current();
        let interrupt = || {
            task.until_asleep();
            let before = INTERRUPTED.load(Ordering::Relaxed);
            while INTERRUPTED.load(Ordering::Relaxed) < before + 10 && !done.load(Ordering::Relaxed)
            {
                // SAFETY: the thread waits for this one.
                unsafe { libc::pthread_kill(me as libc::pthread_t, libc::SIGUSR1) };
                thread::sleep(Duration::from_millis(2));
            }
        };
        thread::scope(|scope| {
            scope.spawn(|| {
                interrupt();
                pipe_in.write_all(b"late").unwrap();
            });
            assert_eq!(producer.fill_from(&pipe_out, 100).unwrap(), 4);
        });
        assert!(INTERRUPTED.load(Ordering::Relaxed) >= 10);
        assert_eq!(consumer.drain_to(&pipe_in, 100).unwrap(), 4);
        pipe_out.read_exact(&mut [0; 4]).unwrap();

        // A full pipe, and a write that waits for it.
        set_nonblocking(&pipe_in);
        while pipe_in.write(&[7; 4096]).is_ok() {}
        // SAFETY: an open descriptor and integers.
        unsafe { libc::fcntl(pipe_in.as_raw_fd(), libc::F_SETFL, 0) };
        producer.write_all(&[8; 1000]).unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                interrupt();
                pipe_out.read_exact(&mut [0; 4096]).unwrap();
            });
            let mut drained = 0;
            while drained < 1000 {
                drained += consumer.drain_to(&pipe_in, 1000).unwrap();
            }
        });
        done.store(true, Ordering::Relaxed);
        assert!(INTERRUPTED.load(Ordering::Relaxed) >= 20);
        assert_eq!(consumer.position(), 1004);
    });
}

// ---- The ring's own answers ----

#[test]
fn the_ring_answers_before_the_file_is_touched() {
    let (mut producer, mut consumer) = split();
    let input = file_of(7, 100);
    let output = nameless();
    let limit = Some(Duration::from_millis(20));
    producer.set_timeout(limit);
    consumer.set_timeout(limit);
    let error = consumer.drain_to(&output, 1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    producer.write_all(&[7; CAPACITY]).unwrap();
    let error = producer.fill_from(&input, 1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);

    producer.abort();
    let error = producer.fill_from(&input, 1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotConnected);
    consumer.read_exact(&mut [0; CAPACITY]).unwrap();
    let error = consumer.drain_to(&output, 1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
    let inside = error.get_ref().unwrap().downcast_ref::<Broken>();
    assert_eq!(inside, Some(&Broken::ProducerAborted));
    consumer.close().unwrap();
    let error = consumer.drain_to(&output, 1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotConnected);

    let (mut producer, consumer) = split();
    drop(consumer);
    let error = producer.fill_from(&input, 1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    assert_eq!((&input).stream_position().unwrap(), 0);
    assert_eq!(output.metadata().unwrap().len(), 0);
}

// ---- Deadlines ----

/// That `moved` timed out, within the deadline or not long after.
#[track_caller]
fn assert_timed_out(moved: io::Result<usize>) {
    assert_eq!(moved.unwrap_err().kind(), ErrorKind::TimedOut);
}

#[test]
fn a_deadline_ends_the_wait_for_the_ring_and_for_the_file() {
    let (mut producer, mut consumer) = split();
    let (pipe_out, pipe_in) = io::pipe().unwrap();
    let start = Instant::now();
    let soon = start + Duration::from_millis(20);
    // Nothing in the pipe; nothing in the ring.
    assert_timed_out(producer.fill_from_deadline(&pipe_out, 100, soon));
    assert!(Instant::now() >= soon);
    assert_timed_out(consumer.drain_to_deadline(&pipe_in, 100, soon));
    // No room in the ring, whatever the file has.
    let (input, all) = (file_of(9, 100), stream(9, 0, CAPACITY));
    producer.write_all(&all).unwrap();
    assert_timed_out(producer.fill_from_deadline(&input, 100, soon));
    assert_eq!((&input).stream_position().unwrap(), 0);
    // No room in the pipe, which blocks: whatever it took is in it, in order.
    let mut moved = 0;
    let mut sent = CAPACITY;
    loop {
        match consumer.drain_to_deadline(&pipe_in, usize::MAX, soon) {
            Ok(len) => moved += len,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::TimedOut);
                break;
            }
        }
        let room = producer.room().unwrap();
        producer.write_all(&stream(9, sent as u64, room)).unwrap();
        sent += room;
    }
    assert!(start.elapsed() < PATIENCE);
    assert_eq!(consumer.position(), moved as u64);
    let mut read = vec![0; moved];
    (&pipe_out).read_exact(&mut read).unwrap();
    check(9, 0, &read);
}

#[test]
fn a_deadline_that_has_passed_moves_what_is_ready() {
    let (mut producer, mut consumer) = split();
    let passed = Instant::now();
    let (pipe_out, pipe_in) = io::pipe().unwrap();
    (&pipe_in).write_all(b"abc").unwrap();
    let filled = producer.fill_from_deadline(&pipe_out, 100, passed);
    assert_eq!(filled.unwrap(), 3);
    assert_eq!(consumer.drain_to_deadline(&pipe_in, 2, passed).unwrap(), 2);
    assert_eq!(consumer.drain_to_deadline(&pipe_in, 0, passed).unwrap(), 0);
    assert_eq!(
        producer.fill_from_deadline(&pipe_out, 0, passed).unwrap(),
        0
    );
    // More than a pipe is sure to take, to one that says so and to a file.
    producer.write_all(&stream(10, 0, CAPACITY - 1)).unwrap();
    set_nonblocking(&pipe_in);
    let drained = consumer.drain_to_deadline(&pipe_in, CAPACITY, passed);
    assert_eq!(drained.unwrap(), CAPACITY);
    producer.write_all(&stream(11, 0, CAPACITY)).unwrap();
    let output = nameless();
    let drained = consumer.drain_to_deadline(&output, CAPACITY, passed);
    assert_eq!(drained.unwrap(), CAPACITY);
    check_file(output, 11, CAPACITY);
    // The ends of both.
    drop(pipe_in);
    io::copy(&mut &pipe_out, &mut io::sink()).unwrap();
    let filled = producer.fill_from_deadline(&pipe_out, 100, passed);
    assert_eq!(filled.unwrap(), 0);
    producer.close().unwrap();
    let drained = consumer.drain_to_deadline(nameless(), 100, passed);
    assert_eq!(drained.unwrap(), 0);
}

#[test]
fn a_deadline_waits_for_what_comes_in_time() {
    let (mut producer, mut consumer) = split();
    let far = Instant::now() + PATIENCE;
    let (pipe_out, mut pipe_in) = io::pipe().unwrap();
    let (filled, ()) = once_asleep(
        || producer.fill_from_deadline(&pipe_out, 100, far),
        |_| pipe_in.write_all(b"late").unwrap(),
    );
    assert_eq!(filled.unwrap(), 4);
    set_nonblocking(&pipe_in);
    while pipe_in.write(&[7; 4096]).is_ok() {}
    let (drained, ()) = once_asleep(
        || consumer.drain_to_deadline(&pipe_in, 100, far),
        |_| (&pipe_out).read_exact(&mut [0; 8192]).unwrap(),
    );
    assert_eq!(drained.unwrap(), 4);
}

#[test]
fn a_descriptor_that_is_closed_says_so() {
    let (mut producer, mut consumer) = split();
    producer.write_all(b"abc").unwrap();
    // SAFETY: nobody has opened a descriptor of this number, and the kernel,
    // which is all that it is shown to, says so.
    let closed = unsafe { BorrowedFd::borrow_raw(i32::MAX) };
    let far = Instant::now() + PATIENCE;
    for error in [
        producer.fill_from(closed, 1).unwrap_err(),
        producer.fill_from_deadline(closed, 1, far).unwrap_err(),
        consumer.drain_to(closed, 1).unwrap_err(),
        consumer.drain_to_deadline(closed, 1, far).unwrap_err(),
    ] {
        assert_eq!(error.raw_os_error(), Some(libc::EBADF));
    }
    assert_eq!((producer.position(), consumer.position()), (3, 0));
}

#[test]
fn both_wait_for_the_other_side() {
    let (mut producer, mut consumer) = split();
    let len = 200_000;
    let (input, output) = (file_of(8, len), nameless());
    let file = &output;
    thread::scope(|scope| {
        scope.spawn(
            move || {
                while producer.fill_from(&input, usize::MAX).unwrap() > 0 {}
            },
        );
        scope.spawn(move || while consumer.drain_to(file, 999).unwrap() > 0 {});
    });
    check_file(output, 8, len);
}

#[test]
fn a_fill_publishes_what_a_batch_held_back() {
    let (mut producer, mut consumer) = split();
    producer.set_batch(CAPACITY);
    producer.write_all(&stream(9, 0, 10)).unwrap();
    let mut input = file_of(9, 50);
    input.seek(SeekFrom::Start(10)).unwrap();
    assert_eq!(producer.fill_from(&input, 1000).unwrap(), 40);
    assert_eq!(consumer.available(), Ok(50));
    let output = nameless();
    assert_eq!(consumer.drain_to(&output, 1000).unwrap(), 50);
    check_file(output, 9, 50);
}

#[test]
fn a_large_file_goes_from_process_to_process() {
    alone(
        "transfer::a_large_file_goes_from_process_to_process",
        || {
            let len = 100_000_000;
            let (input, output) = (file_of(10, len), nameless());
            let ring = options().capacity(256 << 10).create_anonymous().unwrap();
            let other = options().attach(ring.id().unwrap()).unwrap();
            let mut child = Fork::new(move || {
                let mut producer = other.into_producer().unwrap();
                let mut sent = 0;
                loop {
                    match producer.fill_from(&input, usize::MAX).unwrap() {
                        0 => break,
                        filled => sent += filled,
                    }
                }
                assert_eq!(sent, len);
            });
            let mut consumer = ring.into_consumer().unwrap();
            let mut received = 0;
            loop {
                match consumer.drain_to(&output, usize::MAX).unwrap() {
                    0 => break,
                    drained => received += drained,
                }
            }
            assert_eq!(received, len);
            assert_eq!(child.wait(), End::Exit(0));
            check_file(output, 10, len);
        },
    );
}
