//! Ends a stream whose main thread cannot: one that is blocked in a read of
//! stdin or a write to stdout, which a signal does not interrupt for good.
//!
//! The handle lies in a mutex. The main thread has it locked while it uses the
//! ring and not while it reads stdin or writes stdout; a second thread, the
//! watcher, sleeps until a signal comes. Locking a mutex that is free is no
//! system call.
//!
//! 1. Whoever takes the handle out of the mutex ends the process.
//! 2. Once the flag is set, waiting in the ring ends within about 10 ms, so
//!    the watcher gets the lock, or finds the handle taken.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use crate::exit::Failure;
use crate::signals::Signals;

/// How often the watcher looks whether the stream still has two ends.
const LOOK: Duration = Duration::from_millis(100);

/// A handle that the watcher can end.
pub(crate) trait Handle: Send + 'static {
    /// Leaves the ring in a way that does not look like the end of a stream.
    fn break_off(self);

    /// Looks whether the other ends are there. `idle` is the handle, if the
    /// main thread does not use it now.
    fn look(idle: Option<&mut Self>) -> Result<(), Failure>;
}

/// The main thread's side of the watched handle.
#[derive(Debug)]
pub(crate) struct Watched<H> {
    slot: Arc<Mutex<Option<H>>>,
    ending: Arc<Ending>,
}

/// That the stream is to end, and why.
#[derive(Debug)]
struct Ending {
    flag: Arc<AtomicBool>,
    reason: OnceLock<Failure>,
}

impl Ending {
    fn is_near(&self) -> bool {
        self.flag.load(Ordering::Acquire) // pairs with the Release in `begin`
    }

    fn begin(&self, reason: Failure) {
        let _ = self.reason.set(reason); // the first one counts
        self.flag.store(true, Ordering::Release); // after the reason
    }

    /// Without a reason given it was a signal's handler that set the flag.
    fn reason(&self) -> Failure {
        let reason = self.reason.get().cloned();
        reason.unwrap_or_else(Failure::interrupted)
    }
}

impl<H: Handle> Watched<H> {
    pub(crate) fn new(handle: H, signals: Signals) -> io::Result<Watched<H>> {
        let Signals { flag, socket } = signals;
        socket.set_read_timeout(Some(LOOK))?;
        let slot = Arc::new(Mutex::new(Some(handle)));
        let ending = Arc::new(Ending {
            flag,
            reason: OnceLock::new(),
        });
        let (watched, watching) = (Arc::clone(&slot), Arc::clone(&ending));
        std::thread::Builder::new()
            .name("watcher".to_owned())
            .spawn(move || watch(&watched, &watching, socket))?;
        Ok(Watched { slot, ending })
    }

    /// Uses the handle for one call on the ring.
    pub(crate) fn with<T>(&self, call: impl FnOnce(&mut H) -> io::Result<T>) -> Result<T, Failure> {
        let mut slot = lock(&self.slot);
        match slot.as_mut() {
            Some(handle) if !self.ending.is_near() => call(handle).map_err(|error| {
                if self.ending.is_near() {
                    self.ending.reason()
                } else {
                    Failure::stream(error)
                }
            }),
            _ => Err(self.ending.reason()),
        }
    }

    /// Ends the stream: `finish` if all went well, [`Handle::break_off`] if not.
    pub(crate) fn end(
        self,
        done: Result<(), Failure>,
        finish: impl FnOnce(H) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let Some(handle) = lock(&self.slot).take() else {
            park(); // the watcher is ending the process
        };
        let done = done.and_then(|()| match self.ending.is_near() {
            true => Err(self.ending.reason()),
            false => Ok(()),
        });
        match done {
            Ok(()) => finish(handle),
            Err(failure) => {
                handle.break_off();
                Err(failure)
            }
        }
    }
}

/// What the watcher does.
fn watch<H: Handle>(slot: &Mutex<Option<H>>, ending: &Ending, mut socket: UnixStream) {
    let reason = loop {
        match socket.read(&mut [0; 1]) {
            Ok(1..) => break Failure::interrupted(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // No signal is caught, so the other end is closed.
            Ok(0) | Err(_) => std::thread::sleep(LOOK),
        }
        let looked = match slot.try_lock() {
            Ok(mut slot) => match slot.as_mut() {
                Some(handle) => H::look(Some(handle)),
                None => return,
            },
            Err(_) => H::look(None),
        };
        if let Err(failure) = looked {
            break failure;
        }
    };
    ending.begin(reason);
    let Some(handle) = lock(slot).take() else {
        return; // the main thread is ending the process
    };
    handle.break_off();
    std::process::exit(ending.reason().report().into());
}

/// A panic under the lock ends the process whoever has the handle.
fn lock<H>(slot: &Mutex<Option<H>>) -> MutexGuard<'_, Option<H>> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

fn park() -> ! {
    loop {
        std::thread::park();
    }
}
