//! Every error as an `io::Error`: its kind, and itself inside.

use std::error::Error;
use std::io::{self, ErrorKind};

use shmpipe::error::{Corruption, Rule};
use shmpipe::sysv::{self, Key, KeyError, Mode, Project, SegmentId};
use shmpipe::{
    Broken, CloseError, NextStreamError, OpenError, Options, PartialError, PeekError, RemoveError,
    ReserveError, Role, TryReadError, TryWriteError, WaitError,
};

use crate::common::{TempPath, options};

/// `error` becomes one of this kind, says the same, and is found inside.
#[track_caller]
fn becomes<E>(error: E, kind: ErrorKind)
where
    E: Error + Into<io::Error> + 'static,
{
    let said = error.to_string();
    assert!(!said.is_empty());
    let io_error: io::Error = error.into();
    assert_eq!(io_error.kind(), kind, "{said}");
    assert_eq!(io_error.to_string(), said);
    assert!(
        io_error.get_ref().is_some_and(|inner| inner.is::<E>()),
        "{said}"
    );
}

#[test]
fn what_a_stream_reports() {
    let role = Role::Producer;
    becomes(Broken::Closed, ErrorKind::NotConnected);
    becomes(Broken::Inherited, ErrorKind::NotConnected);
    becomes(Broken::ConsumerClosed, ErrorKind::BrokenPipe);
    becomes(Broken::Died { role, pid: 1 }, ErrorKind::BrokenPipe);
    becomes(Broken::NeverCame { role }, ErrorKind::BrokenPipe);
    becomes(Broken::ProducerAborted, ErrorKind::ConnectionAborted);
    becomes(TryWriteError::Full, ErrorKind::WouldBlock);
    becomes(TryReadError::Empty, ErrorKind::WouldBlock);
    becomes(CloseError::NeverCame { unread: 1 }, ErrorKind::BrokenPipe);
    for (cause, kind) in [
        (WaitError::TimedOut, ErrorKind::TimedOut),
        (WaitError::Ended, ErrorKind::UnexpectedEof),
        (WaitError::Cancelled, ErrorKind::Other),
        (
            WaitError::Broken(Broken::ConsumerClosed),
            ErrorKind::BrokenPipe,
        ),
    ] {
        let (moved, wanted) = (7, 9);
        becomes(
            PartialError {
                moved,
                wanted,
                cause,
            },
            kind,
        );
    }
}

#[test]
fn what_a_grant_reports() {
    becomes(
        ReserveError::Full { wanted: 2, room: 1 },
        ErrorKind::WouldBlock,
    );
    becomes(
        ReserveError::TooLong {
            wanted: 2,
            capacity: 1,
        },
        ErrorKind::InvalidInput,
    );
    becomes(
        ReserveError::TimedOut { wanted: 2, room: 1 },
        ErrorKind::TimedOut,
    );
    becomes(
        PeekError::Empty {
            wanted: 2,
            available: 1,
        },
        ErrorKind::WouldBlock,
    );
    becomes(
        PeekError::TooLong {
            wanted: 2,
            capacity: 1,
        },
        ErrorKind::InvalidInput,
    );
    becomes(
        PeekError::TimedOut {
            wanted: 2,
            available: 1,
        },
        ErrorKind::TimedOut,
    );
    becomes(
        PeekError::Ended {
            wanted: 2,
            available: 1,
        },
        ErrorKind::UnexpectedEof,
    );
}

#[test]
fn what_wraps_an_error_has_its_kind() {
    let kind = |error: io::Error| error.kind();
    let closed = Broken::ConsumerClosed;
    assert_eq!(
        kind(TryWriteError::Broken(closed.clone()).into()),
        closed.kind()
    );
    assert_eq!(
        kind(TryReadError::Broken(closed.clone()).into()),
        closed.kind()
    );
    assert_eq!(
        kind(ReserveError::Broken(closed.clone()).into()),
        closed.kind()
    );
    assert_eq!(
        kind(PeekError::Broken(closed.clone()).into()),
        closed.kind()
    );
    assert_eq!(
        kind(CloseError::Broken(closed.clone()).into()),
        closed.kind()
    );
    let open = OpenError::CannotPersist;
    assert_eq!(kind(RemoveError::Open(open).into()), ErrorKind::Unsupported);
}

#[test]
fn what_opening_reports() {
    let path = TempPath::new();
    let opened = |options: &mut Options| options.open_producer(&path).map(drop).unwrap_err();
    becomes(opened(Options::new().capacity(0)), ErrorKind::InvalidInput);
    becomes(opened(Options::new().mode(0o1600)), ErrorKind::InvalidInput);
    becomes(opened(Options::new().project(0)), ErrorKind::InvalidInput);
    let nowhere = options().open_producer("/nowhere/at/all").unwrap_err();
    becomes(nowhere, ErrorKind::NotFound);
    let directory = options().open_producer(std::env::temp_dir()).unwrap_err();
    becomes(directory, ErrorKind::IsADirectory);
    let _there = options().persistent(true).open_consumer(&path).unwrap();
    let taken = options().persistent(true).open_consumer(&path).unwrap_err();
    becomes(taken, ErrorKind::ResourceBusy);
    let in_use = shmpipe::Options::new().remove(&path).unwrap_err();
    becomes(in_use, ErrorKind::ResourceBusy);
}

#[test]
fn what_system_v_reports() {
    becomes(Project::new(0).unwrap_err(), ErrorKind::InvalidInput);
    becomes(Key::from_raw(0).unwrap_err(), ErrorKind::InvalidInput);
    becomes(Key::from_raw(-1).unwrap_err(), ErrorKind::InvalidInput);
    let nowhere = Key::from_path("/nowhere/at/all".as_ref(), Project::default());
    let nowhere = nowhere.unwrap_err();
    assert!(matches!(nowhere, KeyError::Path { .. }));
    becomes(nowhere, ErrorKind::NotFound);
    becomes(
        SegmentId::from_raw(-1).unwrap_err(),
        ErrorKind::InvalidInput,
    );
    let empty = sysv::create(None, 0, Mode::OWNER_ONLY).unwrap_err();
    becomes(empty, ErrorKind::InvalidInput);
}

#[test]
fn what_a_lie_is_reported_as() {
    let path = TempPath::new();
    let mut consumer = options().persistent(true).open_consumer(&path).unwrap();
    let segment = path.segment().unwrap();
    crate::common::poke(
        segment,
        crate::common::offsets::TAIL,
        &(1_u64 << 40).to_ne_bytes(),
    );
    let Err(Broken::Corrupted(what)) = consumer.available() else {
        panic!("a tail that cannot be was believed");
    };
    assert_eq!(what.rule(), Rule::TailOutOfRange);
    becomes(Broken::Corrupted(what), ErrorKind::InvalidData);
    let bare: Corruption = what;
    assert_eq!(io::Error::from(bare).kind(), ErrorKind::InvalidData);
}

/// For C and the like: where the standard library knows a number, it means the same.
#[test]
fn each_error_has_the_number_of_its_kind() {
    #[track_caller]
    fn numbered((kind, errno): (ErrorKind, i32), expected: i32) {
        assert_eq!(errno, expected);
        let known = io::Error::from_raw_os_error(errno).kind();
        let unknown = format!("{known:?}") == "Uncategorized";
        assert!(unknown || known == kind, "{errno}: {known:?}, not {kind:?}");
    }
    macro_rules! numbers {
        ($($error:expr => $errno:ident;)+) => {
            $({ let error = $error; numbered((error.kind(), error.errno()), libc::$errno) })+
        };
    }
    let role = Role::Producer;
    let (wanted, available, room, capacity) = (2, 1, 1, 1);
    numbers!(
        Broken::Closed => ENOTCONN;
        Broken::Inherited => ENOTCONN;
        Broken::ConsumerClosed => EPIPE;
        Broken::Died { role, pid: 1 } => EPIPE;
        Broken::NeverCame { role } => EPIPE;
        Broken::ProducerAborted => ECONNABORTED;
        TryWriteError::Full => EAGAIN;
        TryReadError::Empty => EAGAIN;
        TryReadError::Broken(Broken::Closed) => ENOTCONN;
        ReserveError::Full { wanted, room } => EAGAIN;
        ReserveError::TimedOut { wanted, room } => ETIMEDOUT;
        ReserveError::TooLong { wanted, capacity } => EINVAL;
        ReserveError::Cancelled => ECANCELED;
        PeekError::Empty { wanted, available } => EAGAIN;
        PeekError::Ended { wanted, available } => ENODATA;
        PeekError::Cancelled => ECANCELED;
        WaitError::TimedOut => ETIMEDOUT;
        WaitError::Ended => ENODATA;
        WaitError::Cancelled => ECANCELED;
        WaitError::Broken(Broken::ConsumerClosed) => EPIPE;
        PartialError { moved: 7, wanted: 9, cause: WaitError::Cancelled } => ECANCELED;
        PartialError { moved: 7, wanted: 9, cause: WaitError::TimedOut } => ETIMEDOUT;
        CloseError::NeverCame { unread: 1 } => EPIPE;
        NextStreamError::NotEnded { available } => EINVAL;
        NextStreamError::TimedOut => ETIMEDOUT;
        NextStreamError::Cancelled => ECANCELED;
        OpenError::Cancelled => ECANCELED;
        OpenError::CannotPersist => EOPNOTSUPP;
        OpenError::NotHandedOver => EINVAL;
        RemoveError::Open(OpenError::Cancelled) => ECANCELED;
        SegmentId::from_raw(-1).unwrap_err() => EINVAL;
        Key::from_raw(0).unwrap_err() => EINVAL;
        options().open_producer("/nowhere/at/all").unwrap_err() => ENOENT;
        options().open_producer("/proc/self/mem/x").unwrap_err() => ENOTDIR;
        options().open_producer(std::env::temp_dir()).unwrap_err() => EISDIR;
    );
    let gone = sysv::create(None, 8192, Mode::OWNER_ONLY).unwrap();
    sysv::remove(gone).unwrap();
    let error = sysv::stat(gone).unwrap_err();
    assert_eq!(Some(error.errno()), error.raw_os_error());
    assert_eq!(OpenError::System(error.clone()).errno(), error.errno());
}

/// That a call was cancelled is found in whatever it becomes.
#[test]
fn a_cancelled_call_is_found_in_what_wraps_it() {
    let cause = WaitError::Cancelled;
    let (moved, wanted) = (7, 9);
    let partial = PartialError {
        moved,
        wanted,
        cause,
    };
    let wraps: [io::Error; 6] = [
        WaitError::Cancelled.into(),
        ReserveError::Cancelled.into(),
        PeekError::Cancelled.into(),
        NextStreamError::Cancelled.into(),
        partial.clone().into(),
        io::Error::other(io::Error::from(partial)),
    ];
    for error in &wraps {
        assert_eq!(
            WaitError::find(error),
            Some(&WaitError::Cancelled),
            "{error:?}"
        );
        assert_eq!(Broken::find(error), None, "{error:?}");
    }
    assert_eq!(WaitError::find(&Broken::Closed.into()), None);
}
