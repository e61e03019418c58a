//! How the command ends: by an exit code or a signal, and with one line on stderr if it
//! fails.

use std::fmt;
use std::io;

use shmpipe::error::Incompatible;
use shmpipe::{Broken, CloseError, NextStreamError, OpenError, RemoveError, WaitError};

use crate::start::dies_of_sigpipe;

/// The table of exit codes, as `--help` shows it. What follows the table is one line, which is
/// divided at the width of the screen.
pub(crate) const TABLE: &str = "\
Exit codes:
  0  done
  1  failure
  2  usage
  3  the peer died
  4  the segment is corrupt
  5  timed out
  6  the receiver left
  7  the sender broke the stream off

After SIGINT, SIGTERM, SIGHUP or SIGQUIT, send, recv and run clean up, and then \
die of that signal: 128 plus its number in a shell. A signal that was ignored at \
the start stays ignored. If nobody reads stdout any more, the command dies of \
SIGPIPE (141), as filters do. Stdin and stdout must be open.";

/// The kind of failure, where callers treat it specially.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// A signal, or a cancelled wait.
    Interruption,
    /// The reader of an output has gone.
    OutputClosed,
    /// Any other cause.
    Other,
}

/// The exit codes other than 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    Failure = 1,
    Usage = 2,
    PeerDied = 3,
    Corrupt = 4,
    TimedOut = 5,
    ReceiverLeft = 6,
    SenderBrokeOff = 7,
}

/// Why the command failed.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    code: Code,
    message: String,
    /// The signal to die of, instead of an exit code.
    signal: Option<i32>,
    /// Whether the failure prints no message.
    is_silent: bool,
    /// The exit status, if it is none of the codes.
    status: Option<u8>,
    cause: Cause,
}

impl Failure {
    pub(crate) fn new(code: Code, message: impl fmt::Display) -> Failure {
        Failure {
            code,
            message: message.to_string(),
            signal: None,
            is_silent: false,
            status: None,
            cause: Cause::Other,
        }
    }

    /// A failure without an exit code of its own.
    pub(crate) fn other(message: impl fmt::Display) -> Failure {
        Failure::new(Code::Failure, message)
    }

    /// A failed call on `what`, such as stdin.
    pub(crate) fn io(what: impl fmt::Display, error: &io::Error) -> Failure {
        Failure::other(format_args!("{what}: {error}"))
    }

    /// The failure after a signal.
    pub(crate) fn interrupted() -> Failure {
        Failure {
            cause: Cause::Interruption,
            ..Failure::other("interrupted")
        }
    }

    /// Whether this is the failure after a signal, or after a cancelled wait.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.cause == Cause::Interruption
    }

    /// The failure when the reader of stdout has gone. The command then dies of SIGPIPE
    /// without a message, as filters do, unless its parent ignored that signal.
    pub(crate) fn stdout_closed() -> Failure {
        let failure = Failure {
            cause: Cause::OutputClosed,
            ..Failure::other("stdout: closed by its reader")
        };
        match dies_of_sigpipe() {
            true => Failure {
                is_silent: true,
                ..failure.by_signal(libc::SIGPIPE)
            },
            false => failure,
        }
    }

    /// An exit with `status`, and without a message: another process has said what is wrong.
    pub(crate) fn exit(status: u8) -> Failure {
        Failure {
            is_silent: true,
            status: Some(status),
            ..Failure::other("")
        }
    }

    /// The failure of a read from a ring, or of a write to one.
    pub(crate) fn stream(error: io::Error) -> Failure {
        match Broken::find(&error) {
            Some(broken) => Failure::broken(broken),
            None if WaitError::find(&error) == Some(&WaitError::Cancelled) => {
                Failure::interrupted()
            }
            None if error.kind() == io::ErrorKind::TimedOut => Failure::new(Code::TimedOut, error),
            None => Failure::other(error),
        }
    }

    fn broken(broken: &Broken) -> Failure {
        let code = match broken {
            Broken::Died { .. } | Broken::NeverCame { .. } => Code::PeerDied,
            Broken::Corrupted(_) => Code::Corrupt,
            Broken::ConsumerClosed => Code::ReceiverLeft,
            Broken::ProducerAborted => Code::SenderBrokeOff,
            _ => Code::Failure,
        };
        Failure::new(code, broken)
    }

    /// Puts the place before the message.
    pub(crate) fn at(mut self, place: impl fmt::Display) -> Failure {
        self.message = format!("{place}: {}", self.message);
        self
    }

    /// Makes the command die of `signal`.
    pub(crate) fn by_signal(mut self, signal: i32) -> Failure {
        self.signal = Some(signal);
        self
    }

    /// Makes the failure print no message.
    pub(crate) fn mute(mut self) -> Failure {
        self.is_silent = true;
        self
    }

    /// Adds to the message.
    pub(crate) fn and(mut self, more: impl fmt::Display) -> Failure {
        self.message = format!("{}{more}", self.message);
        self
    }

    /// Makes the command exit with `status` instead of a code.
    pub(crate) fn with_status(mut self, status: u8) -> Failure {
        self.status = Some(status);
        self
    }

    pub(crate) fn is(&self, code: Code) -> bool {
        self.code == code
    }

    /// Whether the reader of an output has gone.
    pub(crate) fn is_output_closed(&self) -> bool {
        self.cause == Cause::OutputClosed
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// Prints the message and returns the exit code. Dies instead, if a signal ended the
    /// command.
    pub(crate) fn report(&self) -> u8 {
        use io::Write as _;
        let line = one_line(&self.message);
        if !self.is_silent {
            // If stderr is closed, only the exit code tells.
            let _ = writeln!(io::stderr(), "shmpipe: {line}");
        }
        if let Some(signal) = self.signal {
            // Returns only for an unknown signal, which this is not.
            let _ = signal_hook::low_level::emulate_default_handler(signal);
        }
        self.status.unwrap_or(self.code as u8)
    }
}

/// Joins lines, and escapes control characters.
fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.replace('\n', " ").chars() {
        match c.is_control() {
            true => line.extend(c.escape_debug()),
            false => line.push(c),
        }
    }
    line
}

impl From<Broken> for Failure {
    fn from(broken: Broken) -> Failure {
        Failure::broken(&broken)
    }
}

impl From<CloseError> for Failure {
    fn from(error: CloseError) -> Failure {
        match error {
            CloseError::Broken(broken) => broken.into(),
            error => Failure::other(error),
        }
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Failure {
        let code = match &error {
            OpenError::Cancelled => return Failure::interrupted(),
            OpenError::TimedOut { .. } => Code::TimedOut,
            OpenError::Capacity { .. }
            | OpenError::NotHandedOver
            | OpenError::BadHandover { .. }
            | OpenError::WrongRole { .. } => Code::Usage,
            OpenError::Corrupted(_)
            | OpenError::NotARing {
                reason: Incompatible::Size { .. },
                ..
            } => Code::Corrupt,
            _ => Code::Failure,
        };
        Failure::new(code, error)
    }
}

impl From<NextStreamError> for Failure {
    fn from(error: NextStreamError) -> Failure {
        Failure::stream(error.into())
    }
}

impl From<RemoveError> for Failure {
    fn from(error: RemoveError) -> Failure {
        match error {
            RemoveError::Open(error) => error.into(),
            error => Failure::other(error),
        }
    }
}
