//! What an error says where it happens: each situation is brought about for
//! real. `src/error/tests.rs` checks the texts of all variants.

#![allow(unsafe_code)] // becomes another user

use std::cell::RefCell;
use std::fmt::Display;
use std::io::{IoSlice, IoSliceMut, Read, Write};
use std::panic::{self, AssertUnwindSafe};
use std::thread;
use std::time::{Duration, Instant};

use shmpipe::sysv::{self, Mode};
use shmpipe::{Broken, Consumer, OpenError, Options, RemoveError};

use crate::common::{
    TempPath, alone, is_root, is_waited_for, move_to_own_ipc_namespace, not_run, options,
    remove_unused, until,
};

/// `error` names all of `names`, in one line, and nothing made up.
#[track_caller]
fn says(error: impl Display, names: &[&str]) {
    let said = error.to_string();
    println!("{said}");
    for name in names {
        assert!(said.contains(name), "{said:?} does not name {name:?}");
    }
    for wrong in ["0.0 s", "4294967295", "0o0 ", "made or removed"] {
        assert!(!said.contains(wrong), "{said:?} says {wrong:?}");
    }
    assert!(!said.chars().any(char::is_control), "{said:?}");
}

fn short() -> Options {
    let mut options = Options::new();
    options
        .capacity(4096)
        .timeout(Some(Duration::from_millis(20)));
    options
}

fn pid() -> String {
    format!("process {}", std::process::id())
}

/// Runs `work` as another user, on a thread of its own: the user of a thread
/// is its own business to the kernel, whatever libc makes of it.
fn as_user<T: Send>(user: libc::uid_t, work: impl FnOnce() -> T + Send) -> T {
    let becoming = move || {
        const KEEP: libc::uid_t = libc::uid_t::MAX;
        // SAFETY: three integers; it changes this thread alone.
        let became = unsafe { libc::syscall(libc::SYS_setresuid, KEEP, user, KEEP) };
        assert_eq!(became, 0);
        work()
    };
    thread::scope(|scope| scope.spawn(becoming).join().unwrap())
}

// ---- Opening ----

#[test]
fn nobody_came() {
    let path = TempPath::new();
    let name = path.display().to_string();
    let alone = short().open_consumer(&path).unwrap_err();
    says(
        &alone,
        &[&name, "consumer", "no producer", "timed out after "],
    );
    let alone = short().project(7).open_producer(&path).unwrap_err();
    says(&alone, &[&name, "project id 7", "producer", "no consumer"]);
    let key = path.key();
    let alone = short().open_producer_by_key(key).unwrap_err();
    says(&alone, &[&key.to_string(), "producer", "no consumer"]);
}

#[test]
fn a_lock_that_is_not_had() {
    let path = TempPath::new();
    let file = std::fs::File::open(&path).unwrap();
    file.lock().unwrap();
    let locked = short().open_consumer(&path).unwrap_err();
    let name = path.display().to_string();
    says(
        &locked,
        &[&name, "consumer", "lock", "flock", "timed out after "],
    );
}

#[test]
fn a_file_that_is_not_there() {
    let path = TempPath::new();
    let missing = path.with_extension("at\nall");
    let name = format!("{missing:?}");
    let opened = short().open_consumer(&missing).unwrap_err();
    says(&opened, &[&name, "only names the ring", "must be there"]);
    let looked = shmpipe::Options::new().snapshot(&missing).unwrap_err();
    says(&looked, &[&name, "only names the ring"]);
}

/// Found in use: a user was told to make the file, although no file can be made there.
#[test]
fn a_folder_that_is_not_there() {
    for creates in [false, true] {
        let mut options = short();
        let missing = options
            .create_file(creates)
            .open_consumer("/nowhere/at\nall/x");
        let words = [
            r#""/nowhere/at\nall/x""#,
            r#"there is no folder "/nowhere/at\nall""#,
        ];
        let missing = missing.unwrap_err();
        says(&missing, &words);
        assert!(!missing.to_string().contains("make it"), "{missing}");
    }
}

#[test]
fn a_file_that_goes_while_the_peer_is_waited_for() {
    let path = TempPath::new();
    let name = path.display().to_string();
    thread::scope(|scope| {
        let opening = scope.spawn(|| options().open_consumer(&path).unwrap_err());
        until(|| is_waited_for(&path));
        let gone = path.remove_file_while(|| opening.join().unwrap());
        assert!(matches!(gone, OpenError::FileGone { .. }), "{gone:?}");
        says(
            &gone,
            &[&name, "consumer", "deleted", "the producer was waited for"],
        );
    });
}

#[test]
fn a_role_that_is_taken() {
    let path = TempPath::new();
    let mut persistent = options();
    let _there = persistent.persistent(true).open_consumer(&path).unwrap();
    let taken = persistent.open_consumer(&path).unwrap_err();
    let name = path.display().to_string();
    says(
        &taken,
        &[&name, "a consumer already", &pid(), "producer's end"],
    );
    let id = path.segment().unwrap();
    let taken = options().attach(id).unwrap().into_consumer().unwrap_err();
    says(
        &taken,
        &[&format!("segment {id}"), "a consumer already", &pid()],
    );
}

#[test]
fn another_ring_than_was_asked_for() {
    let path = TempPath::new();
    let name = path.display().to_string();
    let _there = options()
        .capacity(4096)
        .wait_for_peer(false)
        .open_consumer(&path)
        .unwrap();
    let longer = options().capacity(8192).open_producer(&path).unwrap_err();
    says(
        &longer,
        &[&name, "4096", "8192", "Options::capacity", "--capacity"],
    );
    let persistent = options().persistent(true).open_producer(&path).unwrap_err();
    says(&persistent, &[&name, "Options::persistent", "--persist"]);
}

#[test]
fn a_segment_that_is_not_trusted() {
    let path = TempPath::new();
    let name = path.display().to_string();
    let _there = options()
        .mode(0o666)
        .wait_for_peer(false)
        .open_consumer(&path)
        .unwrap();
    let open = options().open_producer(&path).unwrap_err();
    says(
        &open,
        &[
            &name,
            "0666",
            "0600",
            "Options::mode(0o666)",
            "another project id",
        ],
    );

    let user = shmpipe::Options::new()
        .snapshot(&path)
        .map(|ring| sysv::stat(ring.id).unwrap().uid);
    if !is_root() {
        return not_run("needs root, to give a segment away");
    }
    let id = path.segment().unwrap();
    let mode = Mode::new(0o600).unwrap();
    sysv::set(id, 12_345, 12_345, mode).unwrap();
    let strange = options().open_producer(&path).unwrap_err();
    let trusted = format!("of user {}", user.unwrap());
    says(
        &strange,
        &[
            &name,
            "user 12345",
            &trusted,
            "Options::owner(12345)",
            "--project",
        ],
    );
}

/// Found from outside: the owner was said to be user 4294967295, with mode
/// 0o0, and the hint at another project id was hidden.
#[test]
fn a_segment_that_the_kernel_says_nothing_of() {
    if !is_root() {
        return not_run("needs root, to be two users");
    }
    let path = TempPath::new();
    let _there = options().wait_for_peer(false).open_consumer(&path).unwrap();
    let id = path.segment().unwrap();
    let segment = format!("segment {id}");
    let refused = as_user(54_321, || {
        assert!(sysv::stat(id).is_err(), "it may not be asked after");
        [
            options().open_producer(&path).unwrap_err().to_string(),
            options().attach(id).unwrap_err().to_string(),
            shmpipe::force_remove(id).unwrap_err().to_string(),
        ]
    });
    let name = path.display().to_string();
    says(&refused[0], &[&name, "producer", "--project"]);
    for said in &refused {
        says(said, &[&segment, "belongs to user 0", "user 54321"]);
    }
}

/// The key is taken by a segment that is no ring at all.
#[test]
fn a_key_of_two_files() {
    let path = TempPath::new();
    let id = sysv::create(Some(path.key()), 100, Mode::OWNER_ONLY).unwrap();
    let opened = options().open_producer(&path).unwrap_err();
    sysv::remove(id).unwrap();
    let name = path.display().to_string();
    says(
        &opened,
        &[
            &name,
            "producer",
            &format!("segment {id}"),
            "100 bytes",
            "--project",
        ],
    );
}

// ---- Removing ----

#[test]
fn a_ring_that_is_in_use() {
    alone("messages::a_ring_that_is_in_use", || {
        move_to_own_ipc_namespace(); // where nobody else looks at its rings
        let path = TempPath::new();
        let name = path.display().to_string();
        let mut persistent = options();
        persistent.persistent(true);
        let consumer = persistent.open_consumer(&path).unwrap();
        let id = path.segment().unwrap();
        let segment = format!("segment {id} is in use by ");
        let reader = format!("the consumer ({})", pid());
        let in_use = shmpipe::Options::new().remove(&path).unwrap_err();
        says(&in_use, &[&name, &segment, &reader, "--force"]);
        let in_use = shmpipe::remove(id).unwrap_err();
        says(&in_use, &[&segment, &reader, "--force"]);
        let producer = persistent.open_producer(&path).unwrap();
        let in_use = shmpipe::Options::new().remove(&path).unwrap_err();
        says(
            &in_use,
            &[&segment, &format!("the producer ({})", pid()), &reader],
        );
        drop((consumer, producer));

        let held = options().attach(id).unwrap(); // a ring without a role
        let in_use = shmpipe::Options::new().remove(&path).unwrap_err();
        assert!(matches!(in_use, RemoveError::InUse { .. }), "{in_use:?}");
        says(&in_use, &[&segment, "attached 2 times", "--force"]);
        drop(held);
        remove_unused(|| shmpipe::Options::new().remove(&path));

        let none = shmpipe::Options::new().remove(&path).unwrap_err();
        says(&none, &[&name, "no ring"]);
    });
}

#[test]
fn a_ring_that_is_being_made() {
    let path = TempPath::new();
    // As its creator leaves it before the first store.
    let len = 4096 + sysv::page_size().max(4096);
    let id = sysv::create(Some(path.key()), len, Mode::OWNER_ONLY).unwrap();
    let attached = sysv::attach(id).unwrap();
    let made = shmpipe::Options::new().force_remove(&path);
    drop(attached);
    sysv::remove(id).unwrap();
    let name = path.display().to_string();
    says(
        made.unwrap_err(),
        &[&name, &format!("segment {id}"), &pid(), "try again"],
    );
}

// ---- Streaming ----

#[test]
fn a_call_whose_time_is_over() {
    let (mut producer, mut consumer) = short().create_anonymous().unwrap().split().unwrap();
    let segment = format!("segment {}", producer.id().unwrap());
    let reading = [
        &segment,
        "consumer",
        "timed out after ",
        "no byte to read",
        "the producer is",
        &pid(),
    ];
    says(consumer.read(&mut [0]).unwrap_err(), &reading);
    says(consumer.read_exact(&mut [0]).unwrap_err(), &reading);
    let mut bytes = [0];
    let parts = &mut [IoSliceMut::new(&mut bytes)];
    says(consumer.read_vectored(parts).unwrap_err(), &reading);

    producer.write_all(&[0; 4096]).unwrap();
    let writing = [
        &segment,
        "producer",
        "timed out after ",
        "no room",
        "the consumer is",
        &pid(),
    ];
    says(producer.write(b"x").unwrap_err(), &writing);
    says(producer.write_all(b"x").unwrap_err(), &writing);
    says(
        producer.write_vectored(&[IoSlice::new(b"x")]).unwrap_err(),
        &writing,
    );
    let soon = Instant::now();
    let (output, _input) = std::io::pipe().unwrap();
    says(
        producer.fill_from_deadline(&output, 1, soon).unwrap_err(),
        &["timed out", "no room"],
    );

    consumer.read_exact(&mut [0; 4090]).unwrap();
    let partial = consumer.read_exact_deadline(&mut [0; 9], soon).unwrap_err();
    says(partial, &["timed out", "6 of 9 bytes"]);
    producer.close().unwrap();
    let ended = consumer.read_exact(&mut [0; 9]).unwrap_err();
    says(ended, &["ended", "9 bytes short"]);
}

#[test]
fn a_limit_too_short_to_show() {
    let path = TempPath::new();
    let alone = options()
        .timeout(Some(Duration::ZERO))
        .open_consumer(&path)
        .unwrap_err();
    assert!(matches!(alone, OpenError::TimedOut { .. }), "{alone:?}");
    let name = path.display().to_string();
    says(
        alone,
        &[
            &name,
            "consumer",
            "timed out ",
            "no producer opened the other end",
        ],
    );
}

#[test]
fn why_it_cannot_go_on_is_found_in_one_call() {
    let (mut producer, mut consumer) = shmpipe::pair().unwrap();
    producer.abort();
    let error = consumer.read_to_end(&mut Vec::new()).unwrap_err();
    assert_eq!(Broken::find(&error), Some(&Broken::ProducerAborted));
    let error = std::io::Error::other(error);
    assert_eq!(Broken::find(&error), Some(&Broken::ProducerAborted));
    let error = consumer.drain_to(std::io::stdout(), 1).unwrap_err();
    assert_eq!(Broken::find(&error), Some(&Broken::ProducerAborted));
}

// ---- Panics ----

thread_local! {
    static LOCATION: RefCell<Option<(String, u32)>> = const { RefCell::new(None) };
}

/// Where `work` panics, by the panic's own account.
#[track_caller]
fn panics_here(name: &str, work: impl FnOnce()) {
    LOCATION.take();
    let caught = panic::catch_unwind(AssertUnwindSafe(work));
    assert!(caught.is_err(), "{name} did not panic");
    let (file, _) = LOCATION.take().unwrap();
    assert_eq!(file, file!(), "{name}");
}

/// A panic points at the caller's line, not into the crate.
#[test]
fn a_panic_is_the_callers() {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let location = info.location().unwrap();
        LOCATION.set(Some((location.file().to_owned(), location.line())));
        if thread::current().name() != Some("messages::a_panic_is_the_callers") {
            before(info);
        }
    }));
    let (mut producer, mut consumer) = shmpipe::pair().unwrap();
    producer.write_all(b"abc").unwrap();
    let peek = |consumer: &mut Consumer, work: fn(shmpipe::ReadGrant<'_>)| {
        work(consumer.try_peek(3).unwrap());
    };
    panics_here("write_at", || {
        producer.try_reserve(3).unwrap().write_at(b"abc", 1)
    });
    panics_here("commit", || producer.try_reserve(3).unwrap().commit(4));
    panics_here("read_at", || {
        peek(&mut consumer, |grant| grant.read_at(&mut [0; 3], 1))
    });
    panics_here("consume", || peek(&mut consumer, |grant| grant.consume(4)));
}
