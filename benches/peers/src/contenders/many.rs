//! Ways to wait for many channels in one process.
#![allow(unsafe_code)] // epoll

use std::collections::HashMap;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use shmpipe::WaitSet;

use super::shmpipe::Ring;
use super::streams::Unix;
use super::{ANY, Contender};
use crate::figures::Kind;
use crate::job::many::{Inbox, Tally, Way};
use crate::run::{Run, processes_many};

/// Every contender, ours first.
pub(crate) fn all() -> Vec<Contender> {
    let entry = |name, kind, run| Contender {
        name,
        kind,
        run,
        most: ANY,
    };
    vec![
        #[cfg(feature = "async")]
        entry(
            "shmpipe, async",
            Kind::Ours,
            processes_many::<tasks::Handles> as Run,
        ),
        entry(
            "shmpipe, blocking",
            Kind::Ours,
            processes_many::<Threads> as Run,
        ),
        entry("shmpipe, a set", Kind::Ours, processes_many::<Set>),
        entry("shmpipe, polled", Kind::Ours, processes_many::<Polled>),
        entry("Unix sockets, epoll", Kind::Kernel, processes_many::<Epoll>),
        #[cfg(feature = "async")]
        entry(
            "Unix sockets, tokio",
            Kind::Kernel,
            processes_many::<tasks::Sockets>,
        ),
    ]
}

/// Blocking handles, each with a thread of its own.
pub(crate) struct Threads;

impl Way for Threads {
    type One = Ring;

    fn start(ends: Vec<shmpipe::Consumer>, tally: Arc<Tally>) -> Box<dyn FnMut(u64)> {
        let waiting = std::thread::current();
        for mut end in ends {
            let mut inbox = Inbox::new(&tally);
            let waiting = waiting.clone();
            let builder = std::thread::Builder::new().stack_size(128 << 10);
            let read = move || {
                loop {
                    let len = end.read(&mut inbox.buffer).expect("a read");
                    if inbox.take(len) {
                        waiting.unpark();
                    }
                }
            };
            builder.spawn(read).expect("a thread");
        }
        Box::new(move |bytes| {
            tally.want(bytes);
            while !tally.is_complete() {
                std::thread::park();
            }
        })
    }
}

/// All handles in one set, which one thread waits for.
pub(crate) struct Set;

impl Way for Set {
    type One = Ring;

    fn start(ends: Vec<shmpipe::Consumer>, tally: Arc<Tally>) -> Box<dyn FnMut(u64)> {
        let mut set = WaitSet::new();
        let mut inboxes = HashMap::new();
        for end in ends {
            inboxes.insert(set.insert(end), Inbox::new(&tally));
        }
        Box::new(move |bytes| {
            tally.want(bytes);
            while !tally.is_complete() {
                let key = set.wait().expect("a wait").expect("a set with members");
                let inbox = inboxes.get_mut(&key).expect("a key of this set");
                if let Ok(len) = set[key].try_read(&mut inbox.buffer) {
                    inbox.take(len);
                }
            }
        })
    }
}

/// All handles looked at in turn, for ever.
pub(crate) struct Polled;

impl Way for Polled {
    type One = Ring;

    fn start(ends: Vec<shmpipe::Consumer>, tally: Arc<Tally>) -> Box<dyn FnMut(u64)> {
        let mut ends: Vec<_> = ends
            .into_iter()
            .map(|end| (end, Inbox::new(&tally)))
            .collect();
        Box::new(move |bytes| {
            tally.want(bytes);
            while !tally.is_complete() {
                for (end, inbox) in &mut ends {
                    if let Ok(len) = end.try_read(&mut inbox.buffer) {
                        inbox.take(len);
                    }
                }
            }
        })
    }
}

/// Sockets in one epoll instance, level-triggered.
pub(crate) struct Epoll;

impl Way for Epoll {
    type One = Unix;

    fn start(
        ends: Vec<super::streams::Counted<UnixStream>>,
        tally: Arc<Tally>,
    ) -> Box<dyn FnMut(u64)> {
        let epoll = epoll().expect("an epoll instance");
        let mut ends: Vec<_> = ends
            .into_iter()
            .map(|end| (end.into_inner(), Inbox::new(&tally)))
            .collect();
        for (at, (end, _)) in ends.iter().enumerate() {
            add(&epoll, end, at).expect("a socket to wait for");
        }
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 64];
        Box::new(move |bytes| {
            tally.want(bytes);
            while !tally.is_complete() {
                let ready = wait(&epoll, &mut events);
                for event in &events[..ready] {
                    let (end, inbox) = &mut ends[event.u64 as usize];
                    let len = end.read(&mut inbox.buffer).expect("a read");
                    inbox.take(len);
                }
            }
        })
    }
}

fn epoll() -> io::Result<OwnedFd> {
    // SAFETY: a number.
    let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn add(epoll: &OwnedFd, end: &UnixStream, at: usize) -> io::Result<()> {
    let mut event = libc::epoll_event {
        events: libc::EPOLLIN as u32,
        u64: at as u64,
    };
    let (epoll, end) = (epoll.as_raw_fd(), end.as_raw_fd());
    // SAFETY: the kernel reads one event.
    if unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, end, &raw mut event) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// The number of events.
fn wait(epoll: &OwnedFd, events: &mut [libc::epoll_event]) -> usize {
    let (at, room) = (events.as_mut_ptr(), events.len() as libc::c_int);
    // SAFETY: there is room for that many events.
    let ready = unsafe { libc::epoll_wait(epoll.as_raw_fd(), at, room, -1) };
    usize::try_from(ready).expect("a wait that no signal interrupts")
}

/// Tasks on one executor, one for each channel.
#[cfg(feature = "async")]
mod tasks {
    use std::sync::Arc;

    use shmpipe::asynchronous::AsyncConsumer;
    use tokio::io::{AsyncRead, AsyncReadExt};
    use tokio::sync::Notify;
    use tokio_util::compat::FuturesAsyncReadCompatExt;

    use super::super::asynchronous::registered;
    use super::super::streams::Counted;
    use super::*;
    use crate::job::tasks::runtime;

    pub(crate) struct Handles;

    impl Way for Handles {
        type One = Ring;

        fn start(ends: Vec<shmpipe::Consumer>, tally: Arc<Tally>) -> Box<dyn FnMut(u64)> {
            let ends = ends.into_iter();
            gather(ends.map(|end| AsyncConsumer::new(end).compat()), tally)
        }
    }

    pub(crate) struct Sockets;

    impl Way for Sockets {
        type One = Unix;

        fn start(ends: Vec<Counted<UnixStream>>, tally: Arc<Tally>) -> Box<dyn FnMut(u64)> {
            let ends = ends.into_iter().map(Counted::into_inner);
            gather(ends.map(|end| registered(end).expect("a socket")), tally)
        }
    }

    fn gather<T>(ends: impl Iterator<Item = T>, tally: Arc<Tally>) -> Box<dyn FnMut(u64)>
    where
        T: AsyncRead + Unpin + Send + 'static,
    {
        let complete = Arc::new(Notify::new());
        for mut end in ends {
            let mut inbox = Inbox::new(&tally);
            let complete = Arc::clone(&complete);
            runtime().spawn(async move {
                loop {
                    let len = end.read(&mut inbox.buffer).await.expect("a read");
                    if inbox.take(len) {
                        complete.notify_one();
                    }
                }
            });
        }
        Box::new(move |bytes| {
            tally.want(bytes);
            runtime().block_on(async {
                while !tally.is_complete() {
                    complete.notified().await;
                }
            });
        })
    }
}
