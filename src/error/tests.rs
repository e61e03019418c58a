//! Prints (`-- --nocapture`) and checks every message. The file does not compile if a
//! variant is missing here. A missing error type fails a test. The file is long
//! because it is a table of samples.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt::{self, Debug, Display};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;
use crate::sys::sysv::{
    InvalidSegmentId, KernelLimit, Key, KeyError, Project, SegmentId, SysvError, SysvErrorKind,
};
use crate::{RemoveError, Role, User};

/// Checks what every message must fulfil. `names` are texts that this message must
/// contain.
#[track_caller]
fn check<E: Display + Debug>(error: &E, names: &[&str]) {
    let said = error.to_string();
    println!("{said}");
    for name in names {
        assert!(said.contains(name), "{said:?} does not name {name:?}");
    }
    assert!(!said.is_empty(), "{error:?} says nothing");
    assert!(
        !said.chars().any(char::is_control),
        "not one line: {said:?}"
    );
    assert!(!said.ends_with(['.', ' ', ':', ';', ',']), "{said:?}");
    assert!(said.trim() == said && !said.contains("  "), "{said:?}");
    for wrong in [
        "0.0 s",      // no duration of zero
        "4294967295", // no user -1
        "0o0 ",       // no unknown mode
        "process 0",  // no unknown process
        "Some(",
        "None",
        "Os {",
        " { ",
        "::default",
        "1 bytes",
    ] {
        assert!(!said.contains(wrong), "{said:?} says {wrong:?}");
    }
    assert_ne!(said, format!("{error:?}"), "the message of Debug");
}

/// Checks samples of every variant of an enum, each with the texts that its message
/// must contain.
macro_rules! every {
    ($error:ident { $($variant:ident: $([$($name:expr),*] $sample:expr),+;)+ }) => {{
        // A new variant does not compile until it is listed.
        fn _listed(error: &$error) {
            match error {
                $($error::$variant { .. } => {})+
            }
        }
        $($(
            let sample = $sample;
            assert!(matches!(&sample, $error::$variant { .. }), "{sample:?}");
            check(&sample, &[$($name),*]);
        )+)+
    }};
}

fn id() -> SegmentId {
    SegmentId::from_raw(98).unwrap()
}

/// A file whose name would break a line, opened by the consumer.
fn at() -> Place {
    let path = Path::new("/tmp/a\nb\x1b[31m");
    Place::file(path, Project::new(7).unwrap()).with_role(Role::Consumer)
}

/// What each error about that place must name.
const AT: &str = r#""/tmp/a\nb\u{1b}[31m" with project id 7 (as consumer): "#;

fn path() -> PathBuf {
    at().path().unwrap().to_owned()
}

const PATH: &str = r#""/tmp/a\nb\u{1b}[31m": "#;

fn os(errno: i32) -> io::Error {
    io::Error::from_raw_os_error(errno)
}

fn corruption() -> Corruption {
    Corruption::new(Rule::TailOutOfRange, 5, 3)
}

#[test]
fn broken() {
    let role = Role::Producer;
    every!(Broken {
        Closed: ["closed before", "open"] Broken::Closed;
        Inherited: ["fork"] Broken::Inherited;
        ConsumerClosed: ["consumer"] Broken::ConsumerClosed;
        ProducerAborted: ["producer"] Broken::ProducerAborted;
        Died:
            ["producer", "process 12"] Broken::Died { role, pid: 12 },
            ["producer"] Broken::Died { role, pid: 0 };
        NeverCame: ["producer"] Broken::NeverCame { role };
        Corrupted: ["(5 against 3)"] Broken::Corrupted(corruption());
    });
    every!(Rule {
        TailOutOfRange: [] Rule::TailOutOfRange;
        TailMovedBack: [] Rule::TailMovedBack;
        HeadOutOfRange: [] Rule::HeadOutOfRange;
        HeadMovedBack: [] Rule::HeadMovedBack;
        ClosedWord: [] Rule::ClosedWord;
        StateWord: [] Rule::StateWord;
        OwnRole: [] Rule::OwnRole;
        MarkCount: [] Rule::MarkCount;
        MarkOutOfRange: [] Rule::MarkOutOfRange;
        MarkEnding: [] Rule::MarkEnding;
    });
}

/// For [`check`]: a rule is printed only as part of a corruption.
impl Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(&Corruption::new(*self, 5, 3), f)
    }
}

#[test]
fn trying() {
    let broken = || Broken::ConsumerClosed;
    every!(TryWriteError {
        Full: ["full", "consumer"] TryWriteError::Full;
        Broken: ["consumer"] TryWriteError::Broken(broken());
    });
    every!(TryReadError {
        Empty: ["empty", "producer"] TryReadError::Empty;
        Broken: ["consumer"] TryReadError::Broken(broken());
    });
    every!(CloseError {
        NeverCame:
            ["consumer", "5 bytes"] CloseError::NeverCame { unread: 5 },
            ["consumer", "1 byte"] CloseError::NeverCame { unread: 1 };
        Broken: ["consumer"] CloseError::Broken(broken());
    });
}

#[test]
fn how_much() {
    let broken = || Broken::ConsumerClosed;
    let (wanted, capacity, room, contiguous, available) = (8192, 4096, 96, 7, 3);
    every!(ReserveError {
        TooLong: ["8192", "4096", "Options::capacity"]
            ReserveError::TooLong { wanted, capacity };
        Wraps: ["8192", "7"] ReserveError::Wraps { wanted, contiguous };
        Full:
            ["8192", "96", "consumer"] ReserveError::Full { wanted, room },
            ["1 byte "] ReserveError::Full { wanted: 1, room: 0 };
        TimedOut: ["timed out", "8192", "96", "consumer"]
            ReserveError::TimedOut { wanted, room };
        Cancelled: ["caller"] ReserveError::Cancelled;
        Broken: ["consumer"] ReserveError::Broken(broken());
    });
    every!(PeekError {
        TooLong: ["8192", "4096", "Options::capacity"] PeekError::TooLong { wanted, capacity };
        Wraps: ["8192", "7"] PeekError::Wraps { wanted, contiguous };
        Empty: ["8192", "3", "producer"] PeekError::Empty { wanted, available };
        TimedOut: ["timed out", "8192", "3", "producer"]
            PeekError::TimedOut { wanted, available };
        Cancelled: ["caller"] PeekError::Cancelled;
        Ended: ["ended", "8192", "3"] PeekError::Ended { wanted, available };
        Broken: ["consumer"] PeekError::Broken(broken());
    });
    every!(WaitError {
        TimedOut: ["timed out"] WaitError::TimedOut;
        Ended: ["ended"] WaitError::Ended;
        Cancelled: ["caller"] WaitError::Cancelled;
        Broken: ["consumer"] WaitError::Broken(broken());
    });
    let (expected, found) = ((8, 0xab), Some((16, 0xcd)));
    every!(RecordError {
        TooLong: ["9 bytes", "8", "set_most"] RecordError::TooLong { len: 9, most: 8 };
        Cut:
            ["cut", "3 of 8192", "ended"]
                RecordError::Cut { wanted, available, broken: None },
            ["cut", "3 of 8192", "consumer"]
                RecordError::Cut { wanted, available, broken: Some(broken()) };
        OtherMessage:
            ["8 bytes", "00ab", "16", "00cd"] RecordError::OtherMessage { expected, found },
            ["8 bytes", "00ab"] RecordError::OtherMessage { expected, found: None };
        Misplaced: ["17", "8 bytes"] RecordError::Misplaced { position: 17, size: 8 };
        WouldBlock: ["yet"] RecordError::WouldBlock;
        TimedOut: ["timed out"] RecordError::TimedOut;
        Cancelled: ["caller"] RecordError::Cancelled;
        Broken: ["consumer"] RecordError::Broken(broken());
    });
    for (cause, why) in [
        (WaitError::TimedOut, "timed out"),
        (WaitError::Ended, "ended"),
        (WaitError::Cancelled, "caller"),
        (WaitError::Broken(broken()), "consumer"),
    ] {
        let (moved, wanted) = (7, 8192);
        let partial = PartialError {
            moved,
            wanted,
            cause,
        };
        check(&partial, &[why, "7 of 8192 bytes"]);
    }
    every!(NextStreamError {
        NotEnded: ["not ended", "3 bytes"] NextStreamError::NotEnded { available };
        TimedOut: ["timed out", "next stream"] NextStreamError::TimedOut;
        Cancelled: ["caller"] NextStreamError::Cancelled;
        Broken: ["consumer"] NextStreamError::Broken(broken());
    });
}

#[test]
fn memory() {
    every!(MemoryError {
        TooSmall: ["16 bytes", "4097"] MemoryError::TooSmall { len: 16, least: 4097 };
        Misaligned: ["0x11", "128"] MemoryError::Misaligned { address: 17, alignment: 128 };
        NotARing: ["magic"] MemoryError::NotARing(Incompatible::NoMagic);
    });
    let (capacity, ring_offset, segment) = (8192, 4096, 5000);
    every!(Incompatible {
        NoMagic: [] Incompatible::NoMagic;
        TooSmall: ["1 byte "] Incompatible::TooSmall { segment: 1 };
        Version: ["3", "1", "builds"] Incompatible::Version { found: 3, supported: 1 };
        ByteOrder: [] Incompatible::ByteOrder;
        LineSize: ["64", "128", "builds"] Incompatible::LineSize { found: 64, supported: 128 };
        Kind: ["9"] Incompatible::Kind { found: 9 };
        Size: ["8192", "4096", "5000"] Incompatible::Size { capacity, ring_offset, segment };
        State: ["0x10"] Incompatible::State { found: 16 };
        Features: ["0x6"] Incompatible::Features { unknown: 6 };
        HalfMade: ["creator", "remove"] Incompatible::HalfMade;
    });
}

#[test]
fn opening() {
    let (role, source) = (Role::Consumer, || os(libc::ENOENT));
    let untrusted = |uid, mode| OpenError::Untrusted {
        at: at(),
        id: id(),
        uid,
        mode,
        trusted: vec![1000, 1001],
        most: 0o640,
    };
    let project = "--project";
    let system = SysvError::sample(SysvErrorKind::OutOfMemory, Some(libc::ENOMEM));
    let pid = |pid| OpenError::RoleTaken {
        at: at(),
        role,
        pid,
    };
    let timed_out = |millis| OpenError::TimedOut {
        at: at(),
        after: Duration::from_millis(millis),
        what: "no producer opened the other end",
    };
    let life_cycle = |persistent| OpenError::LifeCycleMismatch {
        at: at(),
        persistent,
    };
    let key_collision = |earlier| OpenError::KeyCollision {
        at: at(),
        id: id(),
        owner: (1, 2),
        asked: (3, 4),
        earlier,
    };
    let not_a_ring = |reason| OpenError::NotARing {
        at: at(),
        id: id(),
        reason,
    };
    every!(OpenError {
        Path:
            [PATH, "only names", "must be there"] OpenError::Path { path: path(), source: source() },
            [PATH, "denied"] OpenError::Path { path: path(), source: os(libc::EACCES) };
        Locking: [PATH, "flock", "file system"]
            OpenError::Locking { path: path(), source: os(libc::ENOLCK) };
        Directory: [PATH, "directory"] OpenError::Directory { path: path() };
        Key: ["300", "255"] OpenError::Key(KeyError::Project { value: 300 });
        Capacity: ["0 bytes", "Options::capacity"] OpenError::Capacity { asked: 0 };
        Mode: ["1600", "Options::mode"] OpenError::Mode { asked: 0o1600 };
        CapacityMismatch: [AT, "4096", "8192", "Options::capacity", "--capacity"]
            OpenError::CapacityMismatch { at: at(), asked: 8192, found: 4096 };
        LifeCycleMismatch:
            [AT, "Options::persistent", "--persist"] life_cycle(true),
            [AT, "Options::persistent", "--persist"] life_cycle(false);
        NoRing: [PATH.trim_end_matches(": "), "no ring"] OpenError::NoRing { path: path() };
        RoleTaken:
            [AT, "a consumer already", "process 12"] pid(12),
            [AT, "a consumer already"] pid(0);
        NotARing:
            [AT, "segment 98", project] not_a_ring(Incompatible::NoMagic),
            [AT, "segment 98"] not_a_ring(Incompatible::HalfMade);
        KeyCollision:
            [AT, "segment 98", "device 1, inode 2", "device 3, inode 4", project]
                key_collision(None),
            [AT, "segment 98", "device 1, inode 2", "made 3 h ago", "rm --id 98", project]
                key_collision(Some(Duration::from_secs(3 * 3600 + 5)));
        TooManyEnds: [AT, "126 streams", "consumer"]
            OpenError::TooManyEnds { at: at(), unread: 126 };
        Untrusted:
            [AT, "segment 98", "user 5", "1000, 1001", "Options::owner(5)", project]
                untrusted(Some(5), Some(0o600)),
            [AT, "0666", "0640", "Options::mode(0o666)", project]
                untrusted(Some(1000), Some(0o666)),
            [AT, "user 1000", "0200", project] untrusted(Some(1000), Some(0o200)),
            [AT, "user 1000", project] untrusted(Some(1000), None),
            [AT, "another user", project] untrusted(None, None);
        Removed: [AT, "98"] OpenError::Removed { at: at(), id: id() };
        FileGone: [AT, "deleted", "the producer"] OpenError::FileGone { at: at() };
        OtherNamespace: [PATH, "IPC namespace"] OpenError::OtherNamespace { path: path() };
        TimedOut:
            [AT, "timed out after 0.2 s: no producer"] timed_out(200),
            [AT, "timed out after 20 ms: no producer"] timed_out(20),
            [AT, "timed out at once: no producer"] timed_out(0);
        CannotPersist: ["shm_rmid_forced", "--persist"] OpenError::CannotPersist;
        Spawn: ["/bin/x", "No such file"]
            OpenError::Spawn { program: OsString::from("/bin/x"), source: source() };
        NoSegment: ["child", "Options::create_anonymous"] OpenError::NoSegment;
        Memory: ["magic"] OpenError::Memory(MemoryError::NotARing(Incompatible::NoMagic));
        NotHandedOver: ["SHMPIPE_RING"] OpenError::NotHandedOver;
        NoSuchEnd: ["`requests`"] OpenError::NoSuchEnd { name: "requests".into() };
        EndName: [r#""a\nb""#, "letters"] OpenError::EndName { name: "a\nb".into() };
        BadHandover: ["SHMPIPE_RING", r"a\nb"] OpenError::BadHandover { value: "a\nb".into() };
        WrongRole: ["consumer's", "producer's"]
            OpenError::WrongRole { given: role, asked: Role::Producer };
        Cancelled: ["caller"] OpenError::Cancelled;
        Corrupted: ["(5 against 3)"] OpenError::Corrupted(corruption());
        System: [AT, "shmat(shmid=7", "memory"] OpenError::System(system).located(&at());
    });
}

/// Messages name known facts and leave out unknown ones.
#[test]
fn places() {
    let timed_out = |at| OpenError::TimedOut {
        at,
        after: Duration::from_secs(2),
        what: "no producer opened the other end",
    };
    let rest = "timed out after 2.0 s: no producer opened the other end";
    let key = Key::from_raw(0x1234).unwrap();
    for (place, expected) in [
        (Place::default(), ""),
        (Place::default().with_role(Role::Producer), "as producer: "),
        (Place::segment(id()), "segment 98: "),
        (Place::key(key), "key 0x00001234: "),
        (
            Place::key(key).with_role(Role::Consumer),
            "key 0x00001234 (as consumer): ",
        ),
        (
            Place::file(Path::new("/tmp/x"), Project::default()),
            "/tmp/x: ",
        ),
    ] {
        check(&timed_out(place.clone()), &[]);
        assert_eq!(timed_out(place).to_string(), format!("{expected}{rest}"));
    }
    let known = timed_out(Place::segment(id())).located(&at());
    assert!(
        known.to_string().starts_with(AT),
        "the path says more: {known}"
    );
    assert_eq!(known.place().and_then(Place::id), Some(id()));
}

#[test]
fn removing() {
    let in_use = |by| RemoveError::InUse {
        at: at(),
        id: id(),
        by,
    };
    let sides = |producer, consumer| User::Sides { producer, consumer };
    every!(RemoveError {
        InUse: ["/tmp/a", "segment 98 is in use by ", "process 12", "--force"]
            in_use(sides(Some(12), None));
        Open: [PATH.trim_end_matches(": ")] RemoveError::Open(OpenError::NoRing { path: path() });
    });
    every!(User {
        Maker: ["process 12"] User::Maker(Some(12)), ["maker"] User::Maker(None);
        Sides:
            ["producer (process 12)", "consumer (process 13)"] sides(Some(12), Some(13)),
            ["producer (process 12)"] sides(Some(12), None),
            ["consumer (process 13)"] sides(None, Some(13)),
            ["nobody"] sides(None, None);
        Others:
            ["2 times", "process 12"] User::Others { attached: 2, last: Some(12) },
            ["2 times"] User::Others { attached: 2, last: None };
    });
    let made = in_use(User::Maker(None));
    check(&made, &["try again"]);
    assert!(!made.to_string().contains("--force"), "that does not help");
}

#[test]
fn system_v() {
    use SysvErrorKind as Kind;
    let call = "shmat(shmid=7, shmaddr=NULL, 0): ";
    let (limit, value) = (KernelLimit::Shmmax, 4096);
    every!(SysvErrorKind {
        NotFound: [call, "key"] Kind::NotFound;
        AlreadyExists: [call, "key"] Kind::AlreadyExists;
        PermissionDenied: [call, "denied"] Kind::PermissionDenied;
        Removed: [call, "id"] Kind::Removed;
        TooLarge: [call, "8192", "4096", "kernel.shmmax"]
            Kind::TooLarge { requested: 8192, limit, value };
        LimitReached: [call, "4096", "kernel.shmmax"] Kind::LimitReached { limit, value };
        OutOfMemory: [call, "memory", "ulimit"] Kind::OutOfMemory;
        InvalidSize: [call, "0 bytes"] Kind::InvalidSize { requested: 0 };
        BadAddress: [call, "0x11"] Kind::BadAddress { address: 17 };
        NotWholePages: [call, "5000", "4096"]
            Kind::NotWholePages { segment_len: 5000, header_len: 100, page_size: 4096 };
        HugePages: [call, "huge"] Kind::HugePages;
        Unsupported: [call, "CONFIG_SYSVIPC"] Kind::Unsupported;
        Other: [call, "os error 5"] Kind::Other;
    });
    let unknown = SysvError::sample(Kind::Other, None);
    check(&unknown, &[call]);
    every!(KernelLimit {
        Shmmni: ["kernel.shmmni"] KernelLimit::Shmmni;
        Shmmax: ["kernel.shmmax"] KernelLimit::Shmmax;
        Shmall: ["kernel.shmall"] KernelLimit::Shmall;
        FileMax: ["fs.file-max"] KernelLimit::FileMax;
    });
    every!(KeyError {
        Project: ["300", "255"] KeyError::Project { value: 300 };
        Path: [PATH, "denied"] KeyError::Path { path: path(), source: os(libc::EACCES) };
        File: ["denied"] KeyError::File { source: os(libc::EACCES) };
        Private: ["IPC_PRIVATE"] KeyError::Private;
        MinusOne: ["-1", "project id"] KeyError::MinusOne;
    });
    check(&InvalidSegmentId, &["2147483647"]);
    check(&InvalidRole, &["producer", "consumer"]);
}

/// For [`check`]: a kind is printed only as part of an error.
impl Display for SysvErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(&SysvError::sample(*self, Some(libc::EIO)), f)
    }
}

/// For [`check`]: a limit is printed only as part of an error.
impl Display for KernelLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (limit, value) = (*self, 4096);
        Display::fmt(&SysvErrorKind::LimitReached { limit, value }, f)
    }
}

/// The types whose messages are checked here. A new type must be added, with a test
/// of its variants.
const TYPES: [&str; 17] = [
    "Broken",
    "CloseError",
    "Corruption",
    "InvalidRole",
    "InvalidSegmentId",
    "KeyError",
    "MemoryError",
    "OpenError",
    "NextStreamError",
    "PartialError",
    "WaitError",
    "PeekError",
    "RecordError",
    "RemoveError",
    "ReserveError",
    "SysvError",
    "TryError", // by macro: TryReadError and TryWriteError
];

#[test]
fn no_error_type_is_left_out() {
    let mut found = BTreeSet::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            for line in fs::read_to_string(&path).unwrap().lines() {
                let Some((before, name)) = line.trim().split_once("Error for ") else {
                    continue;
                };
                if before.starts_with("impl") && !before.contains('<') {
                    let name = name.trim_end_matches(['{', '}', ' ']);
                    found.insert(name.to_owned());
                }
            }
        }
    }
    // Types that a macro makes appear under the macro's own parameter names.
    let by_macro = found.remove("$error");
    assert!(by_macro, "{found:?}");
    let listed: BTreeSet<String> = TYPES
        .iter()
        .filter(|&&name| !["PeekError", "ReserveError", "TryError"].contains(&name))
        .map(|&name| name.to_owned())
        .collect();
    assert_eq!(found, listed);
}

/// At any depth, through any wrapper.
#[test]
fn a_broken_stream_is_found_in_what_wraps_it() {
    let broken = Broken::Died {
        role: Role::Producer,
        pid: 12,
    };
    let partial = PartialError {
        moved: 7,
        wanted: 8,
        cause: WaitError::Broken(broken.clone()),
    };
    let wraps: [io::Error; 8] = [
        broken.clone().into(),
        TryReadError::Broken(broken.clone()).into(),
        PeekError::Broken(broken.clone()).into(),
        CloseError::Broken(broken.clone()).into(),
        partial.clone().into(),
        io::Error::other(io::Error::from(partial)),
        io::Error::other(io::Error::other(PeekError::Broken(broken.clone()))),
        io::Error::other(TryWriteError::Broken(broken.clone())),
    ];
    for error in &wraps {
        assert_eq!(Broken::find(error), Some(&broken), "{error:?}");
    }
    let others: [io::Error; 4] = [
        io::ErrorKind::BrokenPipe.into(),
        os(libc::EPIPE),
        io::Error::other("broken pipe"),
        OpenError::Cancelled.into(),
    ];
    for error in &others {
        assert_eq!(Broken::find(error), None, "{error:?}");
    }
}
