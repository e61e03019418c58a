//! The descriptor of a set, for loops that poll descriptors.
//!
//! # Readable whenever there is a cause
//!
//! The set keeps one invariant between its calls: the descriptor is readable, or each member is
//! *watched*. A member is watched if its word in the segment says that it sleeps, and the reactor
//! knows the member. A member also counts as watched if the reactor has taken its wake, and the
//! write to the descriptor is on the way. Every event keeps the invariant:
//!
//! - **Made.** A new eventfd has the count 1, so it is readable.
//! - **A look finds a member.** The set writes to the descriptor, unless it has written since it
//!   last read it. So the descriptor stays readable until a look finds nothing.
//! - **A look finds nothing (`arm`).** The set reads the descriptor first. Then it arms each member
//!   that is not watched, and looks at the member once more. This look is the sleeper's side of P5:
//!   a peer that published before the member was armed is found now. A peer that publishes later
//!   sees the sleeping word, clears it, and wakes the reactor. If the look finds something, the set
//!   writes to the descriptor.
//! - **The reactor wakes.** It marks the member as not armed, under the lock of its slot, and then
//!   writes to the descriptor. `arm` reads the descriptor before it takes that lock. So if `arm`
//!   swallows the write, it finds the member not armed, and arms it again. If `arm` comes between
//!   the mark and the write, it arms the member again, and the write makes the descriptor readable
//!   without a cause. That is allowed.
//! - **A handle is borrowed, a member is inserted, a blocking wait begins.** The member is not
//!   watched afterwards, so the set writes to the descriptor.
//! - **A peer dies, or a cancel flag is set.** The reactor looks once in a slice, and wakes the
//!   member. The next `arm` checks the peer, as the reactor asked, and stores the verdict.
//! - **A peer changes its position without a wake.** It made too little room, or it died or stopped
//!   before the wake. So `arm` first notes the peer's position, closed word and count of marks. At
//!   the end of a slice the reactor compares them with the words at that time. A change before the
//!   note is found by the look of `arm`, and a later one by the reactor.
//!   Asking whether the peer lives is not enough: a peer that has left is not dead.
//! - **The code of a member panics.** While the set arms, the rest of the members stays unwatched,
//!   so the set writes to the descriptor. Elsewhere, the member is watched as before, or the set has
//!   written before it called the member.
//! - **No thread can be started.** The descriptor stays readable.
//! - **The set is dropped.** The set writes to the descriptor, which stays readable for good.
//!
//! A forked child shares the count of the eventfd. The child's copy of the set neither reads nor
//! writes it (`sys/eventfd.rs`).

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::task::{Wake, Waker};

use super::WaitSet;
use super::member::AsEnd;
use crate::reactor;
use crate::sys::eventfd::EventFd;

/// The waker that the reactor calls: it writes to the eventfd.
#[derive(Debug)]
struct Signal(EventFd);

impl Wake for Signal {
    fn wake(self: Arc<Signal>) {
        self.0.signal();
    }

    fn wake_by_ref(self: &Arc<Signal>) {
        self.0.signal();
    }
}

/// The descriptor of a set.
#[derive(Debug)]
pub(super) struct Descriptor {
    signal: Arc<Signal>,
    waker: Waker,
    /// Whether the set has written to the descriptor since it last read it.
    has_written: bool,
}

impl Descriptor {
    fn new() -> io::Result<Descriptor> {
        let signal = Arc::new(Signal(EventFd::new()?));
        let waker = Waker::from(Arc::clone(&signal));
        Ok(Descriptor {
            signal,
            waker,
            has_written: true,
        })
    }

    /// Makes the descriptor readable, unless the set has done so.
    pub(super) fn keep_readable(&mut self) {
        if !self.has_written {
            self.signal.0.signal();
            self.has_written = true;
        }
    }

    fn clear(&mut self) {
        self.signal.0.clear();
        self.has_written = false;
    }
}

/// Makes the descriptor readable if the code of a member panics while the set arms.
struct OnPanic<'a>(&'a mut Descriptor);

impl Drop for OnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.keep_readable();
        }
    }
}

impl<H: AsEnd> WaitSet<H> {
    /// Returns a descriptor of the set's eventfd. The first call starts the thread and makes the
    /// eventfd.
    pub(super) fn lend_descriptor(&mut self) -> io::Result<OwnedFd> {
        if self.descriptor.is_none() {
            reactor::start_thread()?;
            self.descriptor = Some(Descriptor::new()?);
        }
        let descriptor = self.descriptor.as_ref().map(|made| made.signal.0.lend());
        descriptor.unwrap_or_else(|| Err(io::ErrorKind::NotFound.into()))
    }

    /// Arms all members, after a look found nothing. Returns the key of a member that has become
    /// ready meanwhile.
    pub(super) fn arm(&mut self) -> Option<usize> {
        let mut is_ready = false;
        {
            let OnPanic(descriptor) = &mut OnPanic(self.descriptor.as_mut()?);
            descriptor.clear(); // before the slots are looked at: see the head of this file
            for member in self.members.iter_mut().flatten() {
                match member.arm(&descriptor.waker) {
                    Ok(true) => is_ready |= member.is_ready(),
                    Ok(false) => {}
                    Err(_) => descriptor.keep_readable(), // no thread: the next look comes at once
                }
            }
            if is_ready {
                descriptor.keep_readable(); // before the next call of a member, which may panic
            }
        }
        if is_ready { self.find() } else { None }
    }
}

impl<H> WaitSet<H> {
    /// Makes the descriptor readable, if there is one: some member may not be watched from now on.
    pub(super) fn keep_readable(&mut self) {
        if let Some(descriptor) = &mut self.descriptor {
            descriptor.keep_readable();
        }
    }
}
