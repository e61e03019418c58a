//! The signals that end a stream: SIGINT, SIGTERM, SIGHUP and SIGQUIT. For `run` and `top`, also
//! others by which a process ends.
//!
//! Each signal sets a flag. The flag ends waits in the library, and
//! [`Stream`](crate::stream::Stream) looks at it after each of its short waits. Once the
//! ring is detached, the command dies of the signal itself, so that a shell's loop ends,
//! too. A signal that was ignored at the start stays ignored.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};

use rustix::process::{Signal, getpgrp};
use rustix::termios::tcgetpgrp;
use signal_hook::consts::{SIGALRM, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::flag;

use crate::exit::Failure;
use crate::start::is_ignored;

/// What the signal handlers have recorded.
#[derive(Debug)]
pub(crate) struct Signals {
    /// Ends waits in the library. Set by each signal, and when nobody reads stdout any more.
    pub(crate) flag: Arc<AtomicBool>,
    /// The number of the last signal, or 0.
    last: Arc<AtomicUsize>,
}

impl Signals {
    pub(crate) fn catch() -> Result<Signals, Failure> {
        Signals::catch_all(&[SIGINT, SIGTERM, SIGHUP, SIGQUIT])
    }

    /// Catches more signals: for a command whose sudden death would leave the terminal as it is,
    /// or let another command take a part of a stream for the whole.
    pub(crate) fn catch_more() -> Result<Signals, Failure> {
        Signals::catch_all(&[SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM])
    }

    fn catch_all(signals: &[i32]) -> Result<Signals, Failure> {
        let flag = Arc::new(AtomicBool::new(false));
        let last = Arc::new(AtomicUsize::new(0));
        for &signal in signals {
            if is_ignored(signal) {
                continue; // nohup(1), `trap '' TERM`, `&` in a script
            }
            // A handler runs its actions in this order. So the number is set before the
            // flag, and `number` relies on that.
            flag::register_usize(signal, Arc::clone(&last), signal as usize)
                .and_then(|_| flag::register(signal, Arc::clone(&flag)))
                .map_err(|error: io::Error| Failure::io("signals", &error))?;
        }
        Ok(Signals { flag, last })
    }

    /// The number of the last signal, or 0. A thread whose wait a signal has cancelled, and so has
    /// seen the flag, sees the number, too.
    fn number(&self) -> usize {
        // Acquire, after the library's Relaxed load of the flag: pairs with the handler's SeqCst
        // store to the flag, which follows its store to `last`.
        fence(Ordering::Acquire);
        self.last.load(Ordering::Relaxed) // ordered by the fence
    }

    /// Fails once a signal has come.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        match self.number() {
            0 => Ok(()),
            _ => Err(Failure::interrupted()),
        }
    }

    /// The result of the command: death by the signal that came, if one did.
    pub(crate) fn end(&self, done: Result<(), Failure>) -> Result<(), Failure> {
        match self.number() {
            0 => done,
            signal => Err(done
                .err()
                .unwrap_or_else(Failure::interrupted)
                .by_signal(signal as i32)), // lossless: a signal number
        }
    }

    /// The signal to give to children. `None` if none has come, or if a terminal has given it to
    /// all processes of the foreground.
    pub(crate) fn to_forward(&self) -> Option<Signal> {
        let signal = self.number() as i32; // a signal number, or 0
        let by_terminal = || {
            let terminal = File::open("/dev/tty").ok();
            let group = terminal.and_then(|terminal| tcgetpgrp(terminal).ok());
            group == Some(getpgrp())
        };
        match Signal::from_named_raw(signal) {
            Some(Signal::INT | Signal::QUIT) if by_terminal() => None,
            signal => signal,
        }
    }
}
