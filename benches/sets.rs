//! Many channels in one process: rings in a `WaitSet` beside Unix sockets under epoll. And a
//! wake through a set's descriptor beside that of an eventfd.
#![allow(unsafe_code)] // epoll and eventfd

mod common;

use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use common::{Child, Shared};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use shmpipe::{Consumer, Options, Producer, WaitPolicy, WaitSet};

/// Bytes of a message.
const MESSAGE: usize = 64;

fn options(policy: WaitPolicy) -> Options {
    let mut options = Options::new();
    options.capacity(64 << 10).wait_policy(policy);
    options
}

/// Sends as many messages as the parent says, to one channel after the other.
fn send_to_all(mut channels: Vec<impl Write>, next: &mut dyn FnMut() -> Option<u64>) {
    let message = [7; MESSAGE];
    while let Some(count) = next() {
        for number in 0..count {
            let channel = (number % channels.len() as u64) as usize;
            channels[channel].write_all(&message).unwrap();
        }
    }
}

/// The time until all messages have come. `receive` waits, and returns how many bytes came.
fn collect(child: &mut Child, count: u64, mut receive: impl FnMut() -> usize) -> Duration {
    let start = Instant::now();
    child.order(count);
    let mut left = count as usize * MESSAGE;
    while left > 0 {
        left -= receive();
    }
    start.elapsed()
}

fn rings(channels: usize) -> impl FnMut(u64) -> Duration {
    let rings: Vec<Shared> = (0..channels)
        .map(|_| Shared::new(&options(WaitPolicy::Adaptive)))
        .collect();
    let mut child = Child::new(|next| {
        let producers: Vec<Producer> = rings.iter().map(Shared::producer).collect();
        send_to_all(producers, next);
    });
    let mut set: WaitSet = rings.iter().map(Shared::consumer).collect();
    let mut bytes = [0; 4096];
    move |count| {
        collect(&mut child, count, || {
            let key = set.wait().unwrap().unwrap();
            set[key].try_read(&mut bytes).unwrap()
        })
    }
}

fn sockets(channels: usize) -> impl FnMut(u64) -> Duration {
    let (mut ours, theirs): (Vec<_>, Vec<_>) =
        (0..channels).map(|_| UnixStream::pair().unwrap()).unzip();
    let mut child = Child::new(|next| send_to_all(theirs, next));
    let epoll = epoll();
    for (key, socket) in ours.iter().enumerate() {
        watch(&epoll, socket, key as u64);
    }
    let mut events = [libc::epoll_event { events: 0, u64: 0 }; 64];
    let mut bytes = [0; 4096];
    move |count| {
        collect(&mut child, count, || {
            let ready = wait(&epoll, &mut events);
            let keys = events[..ready].iter().map(|event| event.u64 as usize);
            keys.map(|key| ours[key].read(&mut bytes).unwrap()).sum()
        })
    }
}

fn many(c: &mut Criterion) {
    let mut group = c.benchmark_group("messages from many channels");
    group.throughput(Throughput::Elements(1));
    for channels in [1, 8, 64, 300] {
        let mut time = rings(channels);
        group.bench_function(BenchmarkId::new("shmpipe", channels), |b| {
            b.iter_custom(&mut time);
        });
        drop(time);
        let mut time = sockets(channels);
        group.bench_function(BenchmarkId::new("unix sockets", channels), |b| {
            b.iter_custom(&mut time);
        });
    }
}

/// Wakes the parent in some way, and waits for its answer through a ring, asleep.
fn ping(mut wake: impl FnMut(), mut answers: Consumer, next: &mut dyn FnMut() -> Option<u64>) {
    while let Some(count) = next() {
        for _ in 0..count {
            wake();
            answers.read_exact(&mut [0]).unwrap();
        }
    }
}

/// The time of that many wakes and answers. `wait` returns after a wake.
fn pong(child: &mut Child, answers: &mut Producer, count: u64, mut wait: impl FnMut()) -> Duration {
    let start = Instant::now();
    child.order(count);
    for _ in 0..count {
        wait();
        answers.write_all(&[7]).unwrap();
    }
    start.elapsed()
}

/// Rings between two sides that sleep: what wakes the parent, and what answers.
fn two_rings() -> (Shared, Shared) {
    let options = options(WaitPolicy::Park);
    (Shared::new(&options), Shared::new(&options))
}

fn ring_child(there: &Shared, back: &Shared) -> Child {
    Child::new(|next| {
        let mut producer = there.producer();
        ping(|| producer.write_all(&[7]).unwrap(), back.consumer(), next);
    })
}

fn wakes(c: &mut Criterion) {
    let mut group = c.benchmark_group("a wake and an answer");
    // All children are forked before the thread of the descriptor starts.
    let (_, eventfd_back) = two_rings();
    let eventfd = eventfd();
    let mut eventfd_child = Child::new(|next| {
        let (file, one) = (eventfd.as_raw_fd(), 1_u64.to_ne_bytes());
        let wake = || {
            // SAFETY: reads eight bytes.
            let written = unsafe { libc::write(file, one.as_ptr().cast(), 8) };
            assert_eq!(written, 8);
        };
        ping(wake, eventfd_back.consumer(), next);
    });
    let (set_there, set_back) = two_rings();
    let mut set_child = ring_child(&set_there, &set_back);
    let (fd_there, fd_back) = two_rings();
    let mut fd_child = ring_child(&fd_there, &fd_back);

    let mut answers = eventfd_back.producer();
    let (watching, mut events) = (epoll(), [libc::epoll_event { events: 0, u64: 0 }; 1]);
    watch(&watching, &eventfd, 0);
    group.bench_function("eventfd under epoll", |b| {
        b.iter_custom(|count| {
            pong(&mut eventfd_child, &mut answers, count, || {
                wait(&watching, &mut events);
                let mut bytes = [0_u8; 8];
                // SAFETY: room for eight bytes.
                unsafe { libc::read(eventfd.as_raw_fd(), bytes.as_mut_ptr().cast(), 8) };
            })
        });
    });

    let mut answers = set_back.producer();
    let mut set = WaitSet::from(set_there.consumer());
    set.set_wait_policy(WaitPolicy::Park);
    group.bench_function("WaitSet::wait", |b| {
        b.iter_custom(|count| {
            pong(&mut set_child, &mut answers, count, || {
                let key = set.wait().unwrap().unwrap();
                set[key].try_read(&mut [0]).unwrap();
            })
        });
    });

    let mut answers = fd_back.producer();
    let mut set = WaitSet::from(fd_there.consumer());
    let descriptor = set.poll_fd().unwrap();
    let watching = epoll();
    watch(&watching, &descriptor, 0);
    group.bench_function("WaitSet::poll_fd under epoll", |b| {
        b.iter_custom(|count| {
            pong(&mut fd_child, &mut answers, count, || {
                let key = loop {
                    match set.try_wait().unwrap() {
                        Some(key) => break key,
                        None => wait(&watching, &mut events),
                    };
                };
                set[key].try_read(&mut [0]).unwrap();
            })
        });
    });
}

fn epoll() -> OwnedFd {
    // SAFETY: an integer.
    owned(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })
}

fn eventfd() -> OwnedFd {
    // SAFETY: integers.
    owned(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) })
}

fn owned(fd: i32) -> OwnedFd {
    assert!(fd >= 0, "{}", std::io::Error::last_os_error());
    // SAFETY: the caller has just made the descriptor, and nobody else has it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

fn watch(epoll: &OwnedFd, file: &impl AsRawFd, name: u64) {
    let mut event = libc::epoll_event {
        events: libc::EPOLLIN as u32,
        u64: name,
    };
    let (epoll, file) = (epoll.as_raw_fd(), file.as_raw_fd());
    // SAFETY: reads the event, which outlives the call.
    let added = unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, file, &raw mut event) };
    assert_eq!(added, 0, "{}", std::io::Error::last_os_error());
}

/// Waits for events, and returns their number.
fn wait(epoll: &OwnedFd, events: &mut [libc::epoll_event]) -> usize {
    let (room, first) = (events.len() as i32, events.as_mut_ptr());
    // SAFETY: room for that many events.
    let ready = unsafe { libc::epoll_wait(epoll.as_raw_fd(), first, room, -1) };
    assert!(ready > 0, "{}", std::io::Error::last_os_error());
    ready as usize
}

criterion_group!(name = benches; config = common::criterion(); targets = many, wakes);
criterion_main!(benches);
