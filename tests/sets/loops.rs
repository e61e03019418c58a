//! An epoll loop with rings, a socket and a timer, while other processes flood and die.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use shmpipe::{Broken, Role, TryReadError, WaitSet};

use crate::common::{End, Fork, PATIENCE, alone, kill_self, stream, unique};
use crate::{Flood, pair, ring};

/// An epoll instance, watched level-triggered.
struct Epoll(OwnedFd);

impl Epoll {
    fn new() -> Epoll {
        // SAFETY: an integer.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        assert!(fd >= 0, "{}", std::io::Error::last_os_error());
        // SAFETY: made above, and owned by nobody else.
        Epoll(unsafe { OwnedFd::from_raw_fd(fd) })
    }

    fn watch(&self, file: &impl AsRawFd, name: u64) {
        let mut event = libc::epoll_event {
            events: libc::EPOLLIN as u32,
            u64: name,
        };
        let (epoll, file) = (self.0.as_raw_fd(), file.as_raw_fd());
        // SAFETY: reads the event, which outlives the call.
        let added = unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, file, &raw mut event) };
        assert_eq!(added, 0, "{}", std::io::Error::last_os_error());
    }

    /// The names of what is readable. Panics if nothing becomes so.
    fn wait(&self) -> Vec<u64> {
        let mut events = [const { MaybeUninit::<libc::epoll_event>::uninit() }; 8];
        let patience = PATIENCE.as_millis() as i32;
        let first = events.as_mut_ptr().cast();
        // SAFETY: room for eight events.
        let ready = unsafe { libc::epoll_wait(self.0.as_raw_fd(), first, 8, patience) };
        assert!(
            ready > 0,
            "nothing happens: {}",
            std::io::Error::last_os_error()
        );
        // SAFETY: the kernel has written so many events.
        let events = events[..ready as usize]
            .iter()
            .map(|event| unsafe { event.assume_init() });
        events.map(|event| event.u64).collect()
    }
}

fn timer(interval: Duration) -> OwnedFd {
    let flags = libc::TFD_CLOEXEC | libc::TFD_NONBLOCK;
    // SAFETY: integers.
    let fd = unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, flags) };
    assert!(fd >= 0);
    // SAFETY: made above, and owned by nobody else.
    let timer = unsafe { OwnedFd::from_raw_fd(fd) };
    let every = libc::timespec {
        tv_sec: 0,
        tv_nsec: interval.as_nanos() as _,
    };
    let times = libc::itimerspec {
        it_interval: every,
        it_value: every,
    };
    // SAFETY: reads the times, which outlive the call.
    let set = unsafe { libc::timerfd_settime(fd, 0, &raw const times, std::ptr::null_mut()) };
    assert_eq!(set, 0);
    timer
}

const RINGS: usize = 3;
const LEN: usize = 200_000;
const SET: u64 = 0;
const SOCKET: u64 = 1;

#[test]
fn rings_a_socket_and_a_timer_share_an_epoll_loop() {
    alone(
        "loops::rings_a_socket_and_a_timer_share_an_epoll_loop",
        || {
            let seed = unique();
            let mut rings: Vec<_> = (0..RINGS).map(|_| Some(ring(4096))).collect();
            let (mut socket, mut far) = UnixStream::pair().unwrap();
            let mut writers: Vec<Fork> = (0..RINGS)
                .map(|number| {
                    Fork::new(|| {
                        let mut producer = rings[number].take().unwrap().into_producer().unwrap();
                        producer
                            .write_all(&stream(seed, number as u64, LEN))
                            .unwrap();
                        kill_self();
                    })
                })
                .collect();
            let mut sender = Fork::new(|| far.write_all(&stream(seed, 9, LEN)).unwrap());
            drop(far);
            let mut set = WaitSet::new();
            for ring in &mut rings {
                set.insert(ring.take().unwrap().into_consumer().unwrap());
            }
            // And floods, at a ring without bytes and at one with bytes.
            let (_quiet, quiet) = pair();
            let targets = [quiet.id().unwrap(), set[0].id().unwrap()];
            let floods: Vec<Fork> = [Flood::Clear, Flood::WakeOnly]
                .into_iter()
                .zip(targets)
                .map(|(flood, id)| Fork::new(|| flood.run(id, Role::Consumer)))
                .collect();
            set.insert(quiet);

            let (epoll, timer) = (Epoll::new(), timer(Duration::from_millis(2)));
            let descriptor = set.poll_fd().unwrap();
            socket.set_nonblocking(true).unwrap();
            epoll.watch(&descriptor, SET);
            epoll.watch(&socket, SOCKET);
            epoll.watch(&timer, 2);

            let mut received: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
            let (mut dead, mut is_socket_done, mut ticks) = (0, false, 0);
            let mut bytes = [0; 4096];
            let (start, mut rounds) = (Instant::now(), 0_u64);
            while dead < RINGS || !is_socket_done || ticks < 20 {
                rounds += 1;
                for name in epoll.wait() {
                    match name {
                        SET => {
                            while let Some(key) = set.try_wait().unwrap() {
                                match set[key].try_read(&mut bytes) {
                                    Ok(len) => {
                                        let all = received.entry(key as u64).or_default();
                                        all.extend(&bytes[..len]);
                                    }
                                    Err(TryReadError::Empty) => {}
                                    Err(TryReadError::Broken(Broken::Died { .. })) => {
                                        set.remove(key);
                                        dead += 1;
                                    }
                                    Err(other) => panic!("{other}"),
                                }
                            }
                        }
                        SOCKET => match socket.read(&mut bytes) {
                            Ok(0) => {
                                is_socket_done = true;
                                epoll.forget(&socket);
                            }
                            Ok(len) => received.entry(9).or_default().extend(&bytes[..len]),
                            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock),
                        },
                        _ => {
                            let mut count = [0; 8];
                            let (file, to) = (timer.as_raw_fd(), count.as_mut_ptr().cast());
                            // SAFETY: room for eight bytes.
                            ticks += u64::from(unsafe { libc::read(file, to, 8) } == 8);
                        }
                    }
                }
            }
            for (number, all) in &received {
                assert!(
                    all == &stream(seed, *number, LEN),
                    "of {number}: {}",
                    all.len()
                );
            }
            assert_eq!(received.len(), RINGS + 1);
            println!("{rounds} rounds, {ticks} ticks in {:?}", start.elapsed());
            for writer in &mut writers {
                assert_eq!(writer.wait(), End::Signal(libc::SIGKILL));
            }
            assert_eq!(sender.wait(), End::Exit(0));
            drop(floods);
        },
    );
}

impl Epoll {
    fn forget(&self, file: &impl AsRawFd) {
        let (epoll, file) = (self.0.as_raw_fd(), file.as_raw_fd());
        let none = std::ptr::null_mut();
        // SAFETY: no event is needed.
        let removed = unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_DEL, file, none) };
        assert_eq!(removed, 0);
    }
}
