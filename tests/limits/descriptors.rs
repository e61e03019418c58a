//! Descriptors whose reads and writes wait, though poll(2) has called them
//! ready.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use shmpipe::{Consumer, Producer};

use crate::common::{alone, stream};
use crate::{in_millis, split};

/// A terminal: its master, and its own side.
fn terminal() -> (File, File) {
    let (mut master, mut slave) = (0, 0);
    // SAFETY: writes two integers; no name, attributes or size.
    let made = unsafe {
        libc::openpty(
            &raw mut master,
            &raw mut slave,
            ptr::null_mut(),
            ptr::null(),
            ptr::null(),
        )
    };
    assert_eq!(made, 0, "{}", io::Error::last_os_error());
    // SAFETY: two new descriptors, which nobody else owns.
    let [master, slave] = [master, slave].map(|fd| unsafe { File::from_raw_fd(fd) });
    (master, slave)
}

fn attributes(terminal: &File) -> libc::termios {
    // SAFETY: all zero is a valid termios.
    let mut attributes: libc::termios = unsafe { std::mem::zeroed() };
    // SAFETY: writes a termios, which outlives the call.
    let asked = unsafe { libc::tcgetattr(terminal.as_raw_fd(), &raw mut attributes) };
    assert_eq!(asked, 0);
    attributes
}

fn set_attributes(terminal: &File, attributes: &libc::termios) {
    // SAFETY: reads a termios, which outlives the call.
    let set = unsafe { libc::tcsetattr(terminal.as_raw_fd(), libc::TCSANOW, attributes) };
    assert_eq!(set, 0);
}

fn flags(file: &impl AsRawFd) -> i32 {
    // SAFETY: integers only.
    unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETFL) }
}

/// Drains lines into `file` until that takes no more; says how many bytes.
fn drain_until_full(file: &(impl AsRawFd + std::os::fd::AsFd), line: &[u8]) -> usize {
    let (mut producer, mut consumer) = split(Default::default());
    let before = flags(file);
    let mut drained = 0;
    let mut written = 0_usize;
    loop {
        let room = producer.room().unwrap();
        let bytes: Vec<u8> = (written..written + room)
            .map(|at| line[at % line.len()])
            .collect();
        producer.write_all(&bytes).unwrap();
        written += room;
        match consumer.drain_to_deadline(file, usize::MAX, in_millis(50)) {
            Ok(len) => drained += len,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
                break;
            }
        }
    }
    assert_eq!(consumer.position(), drained as u64);
    assert_eq!(flags(file), before, "others share the flags");
    assert_eq!(flags(file) & libc::O_NONBLOCK, 0);
    drained
}

/// Lines of many lengths, with tabs, so that the room that is left at the end
/// is too little for one in every way.
const TEXT: &[&[u8]] = &[
    b"\n",
    b"\t",
    b"a\n",
    b"ab\n",
    b"abc\t\n",
    b"no lines at all",
];

#[test]
fn a_terminal_that_is_not_read_ends_at_the_deadline() {
    alone(
        "descriptors::a_terminal_that_is_not_read_ends_at_the_deadline",
        || {
            for line in TEXT {
                for processed in [true, false] {
                    let (_master, slave) = terminal();
                    let mut attributes = attributes(&slave);
                    match processed {
                        true => attributes.c_oflag |= libc::OPOST | libc::ONLCR | libc::XTABS,
                        false => attributes.c_oflag &= !libc::OPOST,
                    }
                    set_attributes(&slave, &attributes);
                    assert!(drain_until_full(&slave, line) > 1000);
                }
            }
        },
    );
}

#[test]
fn the_master_of_a_terminal_that_is_not_read_ends_at_the_deadline() {
    alone(
        "descriptors::the_master_of_a_terminal_that_is_not_read_ends_at_the_deadline",
        || {
            let (master, slave) = terminal();
            let mut attributes = attributes(&slave);
            attributes.c_lflag &= !(libc::ICANON | libc::ECHO);
            set_attributes(&slave, &attributes);
            assert!(drain_until_full(&master, b"abc") > 1000);
        },
    );
}

#[test]
fn a_terminal_that_was_hung_up_says_so() {
    let (mut producer, mut consumer) = split(Default::default());
    let (master, slave) = terminal();
    drop(master);
    producer.write_all(b"abc").unwrap();
    let drained = consumer.drain_to_deadline(&slave, 3, in_millis(50));
    assert_eq!(drained.unwrap_err().raw_os_error(), Some(libc::EIO));
    assert_eq!(consumer.position(), 0);
}

#[test]
fn what_a_terminal_takes_arrives() {
    let (mut producer, mut consumer) = split(Default::default());
    let (mut master, slave) = terminal();
    producer.write_all(b"one\ntwo\n").unwrap();
    let drained = consumer.drain_to_deadline(&slave, usize::MAX, in_millis(10_000));
    assert_eq!(drained.unwrap(), 8);
    let mut text = [0; 10];
    master.read_exact(&mut text).unwrap();
    assert_eq!(&text, b"one\r\ntwo\r\n");
    // And the other way.
    master.write_all(b"three\n").unwrap();
    let filled = producer.fill_from_deadline(&slave, usize::MAX, in_millis(10_000));
    assert_eq!(filled.unwrap(), 6);
    master.read_exact(&mut [0; 7]).unwrap(); // its echo
}

/// poll(2) calls a terminal readable that has one byte; a read waits for more,
/// 25 seconds for each.
#[test]
fn a_terminal_that_gathers_bytes_gives_those_it_has() {
    let (mut producer, _consumer) = split(Default::default());
    let (mut master, slave) = terminal();
    let mut attributes = attributes(&slave);
    attributes.c_lflag &= !(libc::ICANON | libc::ECHO);
    attributes.c_cc[libc::VMIN] = 200;
    attributes.c_cc[libc::VTIME] = 255;
    set_attributes(&slave, &attributes);
    master.write_all(b"ab").unwrap();
    let start = std::time::Instant::now();
    let filled = producer.fill_from_deadline(&slave, 100, in_millis(1000));
    assert_eq!(filled.unwrap(), 2);
    assert!(start.elapsed() < Duration::from_secs(15));
}

/// Whoever else writes to, or reads from, the same pipe or socket is faster
/// again and again.
fn with_a_rival(mut rival: impl FnMut() + Send, mut call: impl FnMut()) {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                rival();
            }
        });
        for _ in 0..200 {
            call();
        }
        done.store(true, Ordering::Relaxed);
    });
}

fn drain_briefly(producer: &mut Producer, consumer: &mut Consumer, file: &impl std::os::fd::AsFd) {
    let room = producer.room().unwrap();
    producer.write_all(&stream(1, 0, room)).unwrap();
    let deadline = std::time::Instant::now() + Duration::from_micros(500);
    match consumer.drain_to_deadline(file, usize::MAX, deadline) {
        Ok(len) => assert!(len > 0),
        Err(error) => assert_eq!(error.kind(), ErrorKind::TimedOut),
    }
}

fn set_nonblocking(file: &impl AsRawFd) {
    // SAFETY: integers only.
    let set = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
    assert_eq!(set, 0);
}

/// A description of one's own of the same pipe, which does not block.
fn rival_of(pipe: &impl AsRawFd) -> File {
    let path = format!("/proc/self/fd/{}", pipe.as_raw_fd());
    let rival = File::options().write(true).open(path).unwrap();
    set_nonblocking(&rival);
    rival
}

#[test]
fn a_pipe_that_a_rival_fills_ends_at_the_deadline() {
    alone(
        "descriptors::a_pipe_that_a_rival_fills_ends_at_the_deadline",
        || {
            for flags in [0, libc::O_DIRECT] {
                let mut ends = [0; 2];
                // SAFETY: writes two integers.
                assert_eq!(unsafe { libc::pipe2(ends.as_mut_ptr(), flags) }, 0);
                // SAFETY: two new descriptors, which nobody else owns.
                let [output, input] = ends.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
                let output = File::from(output);
                set_nonblocking(&output);
                let mut rival = rival_of(&input);
                let (mut producer, mut consumer) = split(Default::default());
                with_a_rival(
                    // A page is taken out, and one put in.
                    || {
                        let _ = (&output).read(&mut [0; 4096]);
                        while rival.write(&[0; 4096]).is_ok() {}
                    },
                    || drain_briefly(&mut producer, &mut consumer, &input),
                );
                // Without anybody who reads.
                while rival.write(&[0; 4096]).is_ok() {}
                drain_until_full(&input, b"abc");
            }
        },
    );
}

#[test]
fn sockets_end_at_the_deadline() {
    alone("descriptors::sockets_end_at_the_deadline", || {
        let (one, _other) = UnixStream::pair().unwrap();
        assert!(drain_until_full(&one, b"abc") > 1000);
        let (one, _other) = UnixDatagram::pair().unwrap();
        assert!(drain_until_full(&one, b"abc") > 1000);

        // A read that another reader is faster at.
        let (mut one, other) = UnixStream::pair().unwrap();
        let thief = other.try_clone().unwrap();
        let (mut producer, _consumer) = split(Default::default());
        let steals = || {
            let mut byte = [0];
            let flags = libc::MSG_DONTWAIT;
            // SAFETY: writes one byte, which outlives the call.
            unsafe { libc::recv(thief.as_raw_fd(), byte.as_mut_ptr().cast(), 1, flags) };
        };
        with_a_rival(steals, || {
            one.write_all(b"x").unwrap();
            let deadline = std::time::Instant::now() + Duration::from_micros(200);
            match producer.fill_from_deadline(&other, 1, deadline) {
                Ok(len) => assert_eq!(len, 1),
                Err(error) => assert_eq!(error.kind(), ErrorKind::TimedOut),
            }
        });
    });
}

#[test]
fn an_eventfd_that_is_full_ends_at_the_deadline() {
    alone(
        "descriptors::an_eventfd_that_is_full_ends_at_the_deadline",
        || {
            // SAFETY: integers only.
            let counter = unsafe { libc::eventfd(0, 0) };
            // SAFETY: a new descriptor, which nobody else owns.
            let mut counter = unsafe { File::from_raw_fd(counter) };
            let (mut producer, mut consumer) = split(Default::default());
            let most = (u64::MAX - 2).to_ne_bytes();
            for number in [u64::MAX - 2, 2, 1] {
                producer.write_all(&number.to_ne_bytes()).unwrap();
            }
            let drained = consumer.drain_to_deadline(&counter, 8, in_millis(50));
            assert_eq!(drained.unwrap(), 8);
            // One more fits, by poll(2), and two do not.
            let drained = consumer.drain_to_deadline(&counter, 8, in_millis(50));
            assert_eq!(drained.unwrap_err().kind(), ErrorKind::TimedOut);
            consumer.try_peek(8).unwrap().consume_all();
            let drained = consumer.drain_to_deadline(&counter, 8, in_millis(50));
            assert_eq!(drained.unwrap(), 8);
            let mut count = [0; 8];
            counter.read_exact(&mut count).unwrap();
            assert_eq!(u64::from_ne_bytes(count), u64::from_ne_bytes(most) + 1);
            // Nothing is left in it.
            let filled = producer.fill_from_deadline(&counter, 8, in_millis(20));
            assert_eq!(filled.unwrap_err().kind(), ErrorKind::TimedOut);
        },
    );
}
