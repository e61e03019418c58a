//! Failures as C sees them: a code, an errno and a text. The last failure is kept for each thread.

use std::cell::RefCell;
use std::ffi::CString;
use std::io;

use ring::{
    Broken, CloseError, NextStreamError, OpenError, PartialError, PeekError, RemoveError,
    ReserveError, TryReadError, TryWriteError, WaitError,
};

/// Declares the codes, so that one list makes the type, and the names by number.
macro_rules! codes {
    ($($code:ident = $number:literal, $name:literal;)*) => {
        /// `shmpipe_code`. The numbers are part of the ABI, and never change.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(i32)]
        pub(crate) enum Code {
            $($code = $number,)*
        }

        /// The name of a code, with the NUL that C needs.
        pub(crate) fn name_of(number: i32) -> &'static std::ffi::CStr {
            match number {
                0 => c"SHMPIPE_OK",
                $($number => $name,)*
                _ => c"unknown code",
            }
        }
    };
}

codes! {
    WouldBlock = -1, c"SHMPIPE_WOULD_BLOCK";
    TimedOut = -2, c"SHMPIPE_TIMED_OUT";
    Cancelled = -3, c"SHMPIPE_CANCELLED";
    Closed = -10, c"SHMPIPE_CLOSED";
    Inherited = -11, c"SHMPIPE_INHERITED";
    ConsumerClosed = -12, c"SHMPIPE_CONSUMER_CLOSED";
    ProducerAborted = -13, c"SHMPIPE_PRODUCER_ABORTED";
    PeerDied = -14, c"SHMPIPE_PEER_DIED";
    NeverCame = -15, c"SHMPIPE_NEVER_CAME";
    Corrupted = -16, c"SHMPIPE_CORRUPTED";
    Invalid = -20, c"SHMPIPE_INVALID";
    TooLong = -21, c"SHMPIPE_TOO_LONG";
    NotEnded = -22, c"SHMPIPE_NOT_ENDED";
    Path = -30, c"SHMPIPE_PATH";
    Mismatch = -31, c"SHMPIPE_MISMATCH";
    RoleTaken = -32, c"SHMPIPE_ROLE_TAKEN";
    TooManyEnds = -33, c"SHMPIPE_TOO_MANY_ENDS";
    Incompatible = -34, c"SHMPIPE_INCOMPATIBLE";
    KeyCollision = -35, c"SHMPIPE_KEY_COLLISION";
    Untrusted = -36, c"SHMPIPE_UNTRUSTED";
    Removed = -37, c"SHMPIPE_REMOVED";
    OtherNamespace = -38, c"SHMPIPE_OTHER_NAMESPACE";
    NotHandedOver = -39, c"SHMPIPE_NOT_HANDED_OVER";
    NoRing = -40, c"SHMPIPE_NO_RING";
    InUse = -41, c"SHMPIPE_IN_USE";
    System = -50, c"SHMPIPE_SYSTEM";
    Internal = -51, c"SHMPIPE_INTERNAL";
}

/// The failure of a call from C.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: Code,
    errno: i32,
    text: Text,
}

/// The text of a failure: a fixed one, which costs nothing, or one made from an error.
#[derive(Debug)]
enum Text {
    Fixed(&'static str),
    Made(String),
}

/// Numbers of errno(3), the same on each architecture of Linux.
const ENOENT: i32 = 2;
const EINVAL: i32 = 22;
const EIO: i32 = 5;

impl Failure {
    /// A wrong argument.
    #[cold]
    pub(crate) fn invalid(text: &'static str) -> Failure {
        let (code, errno) = (Code::Invalid, EINVAL);
        let text = Text::Fixed(text);
        Failure { code, errno, text }
    }

    /// A buffer that is too short.
    #[cold]
    pub(crate) fn too_long(text: &'static str) -> Failure {
        let code = Code::TooLong;
        Failure {
            code,
            ..Failure::invalid(text)
        }
    }

    /// The id of a segment leads to a ring other than the one that the caller means.
    #[cold]
    pub(crate) fn other_ring() -> Failure {
        let (code, errno) = (Code::Removed, ENOENT);
        let text = Text::Fixed("the ring is gone: another ring has its id");
        Failure { code, errno, text }
    }

    /// A panic of the library.
    #[cold]
    pub(crate) fn panicked(text: String) -> Failure {
        let (code, errno) = (Code::Internal, EIO);
        let text = Text::Made(text);
        Failure { code, errno, text }
    }

    /// A call that never waits found nothing to do. Such calls may be frequent, so the text is fixed.
    pub(crate) fn would_block(errno: i32) -> Failure {
        let code = Code::WouldBlock;
        let text = Text::Fixed("there is nothing to read, or no room to write");
        Failure { code, errno, text }
    }

    fn timed_out(errno: i32) -> Failure {
        let code = Code::TimedOut;
        let text = Text::Fixed("timed out");
        Failure { code, errno, text }
    }

    #[cold]
    fn made(code: Code, errno: i32, text: &dyn std::fmt::Display) -> Failure {
        let text = Text::Made(text.to_string());
        Failure { code, errno, text }
    }
}

fn code_of(broken: &Broken) -> Code {
    match broken {
        Broken::Closed => Code::Closed,
        Broken::Inherited => Code::Inherited,
        Broken::ConsumerClosed => Code::ConsumerClosed,
        Broken::ProducerAborted => Code::ProducerAborted,
        Broken::Died { .. } => Code::PeerDied,
        Broken::NeverCame { .. } => Code::NeverCame,
        Broken::Corrupted(_) => Code::Corrupted,
        _ => Code::System,
    }
}

impl From<Broken> for Failure {
    #[cold]
    fn from(broken: Broken) -> Failure {
        Failure::made(code_of(&broken), broken.errno(), &broken)
    }
}

impl From<WaitError> for Failure {
    fn from(error: WaitError) -> Failure {
        let errno = error.errno();
        match error {
            WaitError::TimedOut => Failure::timed_out(errno),
            WaitError::Cancelled => Failure::made(Code::Cancelled, errno, &error),
            WaitError::Broken(broken) => broken.into(),
            // Calls that can find the end of a stream return it as a length.
            error => Failure::made(Code::System, errno, &error),
        }
    }
}

impl From<PartialError> for Failure {
    fn from(error: PartialError) -> Failure {
        error.cause.into()
    }
}

impl From<TryReadError> for Failure {
    fn from(error: TryReadError) -> Failure {
        let errno = error.errno();
        match error {
            TryReadError::Empty => Failure::would_block(errno),
            TryReadError::Broken(broken) => broken.into(),
        }
    }
}

impl From<TryWriteError> for Failure {
    fn from(error: TryWriteError) -> Failure {
        let errno = error.errno();
        match error {
            TryWriteError::Full => Failure::would_block(errno),
            TryWriteError::Broken(broken) => broken.into(),
        }
    }
}

impl From<ReserveError> for Failure {
    fn from(error: ReserveError) -> Failure {
        let errno = error.errno();
        match error {
            ReserveError::Full { .. } => Failure::would_block(errno),
            ReserveError::TimedOut { .. } => Failure::timed_out(errno),
            ReserveError::Cancelled => WaitError::Cancelled.into(),
            ReserveError::Broken(broken) => broken.into(),
            error => Failure::made(Code::TooLong, errno, &error),
        }
    }
}

impl From<PeekError> for Failure {
    fn from(error: PeekError) -> Failure {
        let errno = error.errno();
        match error {
            PeekError::Empty { .. } => Failure::would_block(errno),
            PeekError::TimedOut { .. } => Failure::timed_out(errno),
            PeekError::Cancelled => WaitError::Cancelled.into(),
            PeekError::Ended { .. } => WaitError::Ended.into(),
            PeekError::Broken(broken) => broken.into(),
            error => Failure::made(Code::TooLong, errno, &error),
        }
    }
}

impl From<CloseError> for Failure {
    fn from(error: CloseError) -> Failure {
        let errno = error.errno();
        match error {
            CloseError::Broken(broken) => broken.into(),
            error => Failure::made(Code::NeverCame, errno, &error),
        }
    }
}

impl From<NextStreamError> for Failure {
    fn from(error: NextStreamError) -> Failure {
        let errno = error.errno();
        match error {
            NextStreamError::TimedOut => Failure::timed_out(errno),
            NextStreamError::Cancelled => WaitError::Cancelled.into(),
            NextStreamError::Broken(broken) => broken.into(),
            error => Failure::made(Code::NotEnded, errno, &error),
        }
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Failure {
        let code = match &error {
            OpenError::Path { .. } | OpenError::Directory { .. } | OpenError::Locking { .. } => {
                Code::Path
            }
            OpenError::Key(_)
            | OpenError::Capacity { .. }
            | OpenError::Mode { .. }
            | OpenError::EndName { .. } => Code::Invalid,
            OpenError::CapacityMismatch { .. } | OpenError::LifeCycleMismatch { .. } => {
                Code::Mismatch
            }
            OpenError::NoRing { .. } => Code::NoRing,
            OpenError::RoleTaken { .. } => Code::RoleTaken,
            OpenError::TooManyEnds { .. } => Code::TooManyEnds,
            OpenError::NotARing { .. } => Code::Incompatible,
            OpenError::KeyCollision { .. } => Code::KeyCollision,
            OpenError::Untrusted { .. } => Code::Untrusted,
            OpenError::Removed { .. } | OpenError::FileGone { .. } => Code::Removed,
            OpenError::OtherNamespace { .. } => Code::OtherNamespace,
            OpenError::TimedOut { .. } => Code::TimedOut,
            OpenError::NotHandedOver
            | OpenError::NoSuchEnd { .. }
            | OpenError::BadHandover { .. }
            | OpenError::WrongRole { .. } => Code::NotHandedOver,
            OpenError::Cancelled => Code::Cancelled,
            OpenError::Corrupted(_) => Code::Corrupted,
            _ => Code::System,
        };
        Failure::made(code, error.errno(), &error)
    }
}

impl From<RemoveError> for Failure {
    fn from(error: RemoveError) -> Failure {
        let errno = error.errno();
        match error {
            RemoveError::Open(error) => error.into(),
            error => Failure::made(Code::InUse, errno, &error),
        }
    }
}

/// The error of a blocking call.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        if let Some(broken) = Broken::find(&error) {
            return broken.clone().into();
        }
        if let Some(cause) = WaitError::find(&error) {
            return cause.clone().into();
        }
        let errno = error.raw_os_error().unwrap_or(EIO);
        Failure::made(Code::System, errno, &error)
    }
}

/// The last failure of a thread, and its text once C has asked for that.
#[derive(Debug)]
struct Last {
    failure: Option<Failure>,
    text: Option<CString>,
}

thread_local! {
    static LAST: RefCell<Last> = const { RefCell::new(Last { failure: None, text: None }) };
}

/// Keeps a failure for this thread, and returns its code. Keeps nothing if the thread is about to
/// end.
#[cold]
pub(crate) fn keep(failure: Failure) -> i32 {
    let code = failure.code as i32;
    let _ = LAST.try_with(|last| {
        if let Ok(mut last) = last.try_borrow_mut() {
            last.failure = Some(failure);
        }
    });
    code
}

/// The code and the errno of the last failure of this thread. Zeros if there was none.
pub(crate) fn last() -> (i32, i32) {
    let known = LAST.try_with(|last| {
        let last = last.try_borrow().ok()?;
        let failure = last.failure.as_ref()?;
        Some((failure.code as i32, failure.errno))
    });
    known.ok().flatten().unwrap_or((0, 0))
}

/// Calls `show` with the text of the last failure of this thread. The text stays where it is until
/// the next call of this function.
pub(crate) fn with_text<T>(show: impl FnOnce(&std::ffi::CStr) -> T) -> Option<T> {
    let shown = LAST.try_with(|last| {
        let mut last = last.try_borrow_mut().ok()?;
        let text = match &last.failure {
            None => "",
            Some(Failure {
                text: Text::Fixed(text),
                ..
            }) => text,
            Some(Failure {
                text: Text::Made(text),
                ..
            }) => text.as_str(),
        };
        // No path has a NUL, so a path in the text stays whole.
        let text = CString::new(text.replace('\0', "?")).ok()?;
        Some(show(last.text.insert(text)))
    });
    shown.ok().flatten()
}
