//! Every error as an `io::Error`: its kind, and itself inside.

use std::error::Error;
use std::io::{self, ErrorKind};

use shmpipe::sysv::{self, Key, KeyError, Mode, Project, SegmentId};
use shmpipe::{
    Broken, CloseError, Corruption, OpenError, Options, Partial, PeekError, RemoveError,
    ReserveError, Role, Rule, Stop, TryReadError, TryWriteError,
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
    becomes(CloseError::NobodyCame { unread: 1 }, ErrorKind::BrokenPipe);
    for (stop, kind) in [
        (Stop::TimedOut, ErrorKind::TimedOut),
        (Stop::Ended, ErrorKind::UnexpectedEof),
        (Stop::Broken(Broken::ConsumerClosed), ErrorKind::BrokenPipe),
    ] {
        becomes(
            Partial {
                moved: 7,
                wanted: 9,
                stop,
            },
            kind,
        );
    }
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
    let opened = |options: &mut Options| options.producer(&path).map(drop).unwrap_err();
    becomes(opened(Options::new().capacity(0)), ErrorKind::InvalidInput);
    becomes(opened(Options::new().mode(0o1600)), ErrorKind::InvalidInput);
    becomes(opened(Options::new().project(0)), ErrorKind::InvalidInput);
    let nowhere = options().producer("/nowhere/at/all").unwrap_err();
    becomes(nowhere, ErrorKind::NotFound);
    let directory = options().producer(std::env::temp_dir()).unwrap_err();
    becomes(directory, ErrorKind::IsADirectory);
    let _there = options().persistent(true).consumer(&path).unwrap();
    let taken = options().persistent(true).consumer(&path).unwrap_err();
    becomes(taken, ErrorKind::ResourceBusy);
    let in_use = shmpipe::remove_path(&path, 1, false).unwrap_err();
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
    let mut consumer = options().persistent(true).consumer(&path).unwrap();
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
