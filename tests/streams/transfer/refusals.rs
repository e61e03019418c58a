//! Transfers that the descriptor or the ring refuses.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use shmpipe::Broken;

use super::{CAPACITY, check_file, file_of, nameless, set_nonblocking, split, split_at};
use crate::common::{PATIENCE, Task, alone, check, filter, not_run, stream};

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
        "transfer::refusals::a_file_that_takes_nothing_does_not_look_like_the_end",
        || {
            let (mut producer, mut consumer) = split();
            producer.write_all(b"abc").unwrap();
            let output = nameless();
            if !answer_writes_with_zero(output.as_raw_fd()) {
                return not_run("this kernel has no seccomp filters");
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
    alone(
        "transfer::refusals::an_interrupted_call_is_made_again",
        || {
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
                while INTERRUPTED.load(Ordering::Relaxed) < before + 10
                    && !done.load(Ordering::Relaxed)
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
        },
    );
}

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
