//! One epoll loop for a ring, a pipe and a timer.
//!
//! ```text
//! cargo run --example epoll_loop
//! ```
//!
//! The child is this same program. It writes lines to a ring, and to its stdout, which is a
//! pipe. A set of one ring, or of many, lends the loop a descriptor. After the descriptor has
//! become readable, call `try_wait` until it returns `None`. Only that arms the descriptor
//! again. Never read from the descriptor itself.
#![allow(unsafe_code)] // epoll and timerfd

use std::error::Error;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::{Command, Stdio};
use std::time::Duration;

use shmpipe::{Options, Producer, TryReadError, WaitSet};

/// The names under which epoll reports.
const RINGS: u64 = 0;
const PIPE: u64 = 1;
const TIMER: u64 = 2;

fn main() -> Result<(), Box<dyn Error>> {
    match std::env::args().nth(1).as_deref() {
        None => parent(),
        Some("child") => child(),
        Some(_) => Err("usage: epoll_loop".into()),
    }
}

fn parent() -> Result<(), Box<dyn Error>> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("child").stdout(Stdio::piped());
    let ring = Options::new().create_anonymous()?;
    let (consumer, mut child) = ring.spawn_producer(&mut command)?;
    let mut pipe = child.stdout.take().ok_or("the child has no stdout")?;

    let mut set = WaitSet::from(consumer);
    let descriptor = set.poll_fd()?;
    let timer = timer(Duration::from_millis(5))?;
    let epoll = epoll()?;
    watch(&epoll, &descriptor, RINGS)?;
    watch(&epoll, &pipe, PIPE)?;
    watch(&epoll, &timer, TIMER)?;

    let (mut ticks, mut is_pipe_open) = (0, true);
    let mut bytes = [0; 4096];
    while is_pipe_open || !set.is_empty() || ticks == 0 {
        match next(&epoll)? {
            RINGS => {
                while let Some(key) = set.try_wait()? {
                    match set[key].try_read(&mut bytes) {
                        Ok(0) => drop(set.remove(key)),
                        Ok(len) => print_lines("the ring", &bytes[..len]),
                        Err(TryReadError::Empty) => {}
                        Err(error) => return Err(error.into()), // such as the child's death
                    }
                }
            }
            PIPE => match pipe.read(&mut bytes)? {
                0 => {
                    is_pipe_open = false;
                    forget(&epoll, &pipe)?;
                }
                len => print_lines("the pipe", &bytes[..len]),
            },
            _ => {
                ticks += 1;
                // SAFETY: room for the eight bytes of a count.
                unsafe { libc::read(timer.as_raw_fd(), bytes.as_mut_ptr().cast(), 8) };
            }
        }
    }
    println!("the child: {}", child.wait()?);
    Ok(())
}

fn child() -> Result<(), Box<dyn Error>> {
    let mut producer = Producer::from_parent()?;
    producer.set_abort_on_drop(true); // `?` does not finish the stream
    for number in 1..=3 {
        let line = format!("line {number}\n"); // each line in one write
        producer.write_all(line.as_bytes())?;
        io::stdout().write_all(line.as_bytes())?;
        std::thread::sleep(Duration::from_millis(10));
    }
    producer.close()?;
    Ok(())
}

fn print_lines(from: &str, bytes: &[u8]) {
    for line in String::from_utf8_lossy(bytes).lines() {
        println!("{from}: {line}");
    }
}

fn epoll() -> io::Result<OwnedFd> {
    // SAFETY: an integer.
    owned(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })
}

fn timer(interval: Duration) -> io::Result<OwnedFd> {
    // SAFETY: integers.
    let timer = owned(unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_CLOEXEC) })?;
    let every = libc::timespec {
        tv_sec: 0,
        tv_nsec: interval.subsec_nanos().into(),
    };
    let times = libc::itimerspec {
        it_interval: every,
        it_value: every,
    };
    let old = std::ptr::null_mut();
    // SAFETY: reads the times, which outlive the call, and writes nothing.
    done(unsafe { libc::timerfd_settime(timer.as_raw_fd(), 0, &raw const times, old) })?;
    Ok(timer)
}

fn watch(epoll: &OwnedFd, file: &impl AsRawFd, name: u64) -> io::Result<()> {
    let mut event = libc::epoll_event {
        events: libc::EPOLLIN as u32,
        u64: name,
    };
    let (epoll, file) = (epoll.as_raw_fd(), file.as_raw_fd());
    // SAFETY: reads the event, which outlives the call.
    done(unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, file, &raw mut event) })
}

fn forget(epoll: &OwnedFd, file: &impl AsRawFd) -> io::Result<()> {
    let none = std::ptr::null_mut();
    let (epoll, file) = (epoll.as_raw_fd(), file.as_raw_fd());
    // SAFETY: this operation reads no event.
    done(unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_DEL, file, none) })
}

/// Waits for the next descriptor that is readable or at its end, and returns its name.
fn next(epoll: &OwnedFd) -> io::Result<u64> {
    let mut event = libc::epoll_event { events: 0, u64: 0 };
    loop {
        // SAFETY: room for one event.
        match done(unsafe { libc::epoll_wait(epoll.as_raw_fd(), &raw mut event, 1, -1) }) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            waited => return waited.map(|()| event.u64),
        }
    }
}

fn owned(fd: i32) -> io::Result<OwnedFd> {
    done(fd)?;
    // SAFETY: the caller has just made the descriptor, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn done(result: i32) -> io::Result<()> {
    match result {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}
