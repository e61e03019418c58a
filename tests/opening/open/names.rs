//! Names of rings: raw keys, files that are made, and modes.
#![allow(unsafe_code)] // setuid and umask

use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::{fs, thread};

use shmpipe::OpenError;
use shmpipe::sysv::{self, Key};

use crate::common::{TempPath, alone, open_each, options, unique};

#[test]
fn both_ends_are_found_by_a_raw_key() {
    let key = Key::from_raw(unique() as i32 | 1 << 30).unwrap();
    thread::scope(|scope| {
        let producer = scope.spawn(|| options().open_producer_by_key(key));
        let mut consumer = options().open_consumer_by_key(key).unwrap();
        producer.join().unwrap().unwrap().write_all(b"x").unwrap();
        assert_eq!(consumer.read(&mut [0; 9]).unwrap(), 1);
        assert_eq!(consumer.read(&mut [0; 9]).unwrap(), 0);
    });
    assert!(sysv::open(key).is_err());
}

#[test]
fn the_mode_is_what_was_asked_for_whatever_the_umask() {
    alone(
        "open::names::the_mode_is_what_was_asked_for_whatever_the_umask",
        || {
            let path = TempPath::new();
            for (umask, mode) in [(0o077, 0o660), (0, 0o600), (0o777, 0o666)] {
                // SAFETY: an integer; this process runs one test.
                unsafe { libc::umask(umask) };
                let mut shared = options();
                shared.wait_for_peer(false).mode(mode);
                let producer = shared.open_producer(&path).unwrap();
                let stat = sysv::stat(producer.id().unwrap()).unwrap();
                assert_eq!(u32::from(stat.mode.bits()), mode);
                // Who asks for less trusts it not.
                let opened = options().open_consumer(&path);
                assert_eq!(
                    mode == 0o600,
                    !matches!(opened, Err(OpenError::Untrusted { mode: found, .. }) if found == Some(mode))
                );
                if mode != 0o600 {
                    drop(shared.open_consumer(&path).unwrap());
                }
            }
        },
    );
}

#[test]
fn no_file_is_made_through_a_link_that_leads_nowhere() {
    let (link, target) = (TempPath::new(), TempPath::new());
    for path in [&link, &target] {
        fs::remove_file(path).unwrap();
    }
    std::os::unix::fs::symlink(&target, &link).unwrap();
    let mut options = options();
    options.wait_for_peer(false).create_file(true);
    for opened in open_each(&options, &link) {
        let error = opened.unwrap_err();
        assert!(matches!(error, OpenError::Path { .. }), "{error:?}");
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
    assert!(!target.exists());
    // A link to a file is followed, and the file is the same by either name.
    fs::write(&target, "").unwrap();
    let _producer = options.open_producer(&link).unwrap();
    drop(options.open_consumer(&target).unwrap());
}

#[test]
fn the_file_is_made_where_that_is_asked_for() {
    let path = TempPath::new();
    fs::remove_file(&path).unwrap();
    let mut options = options();
    options.wait_for_peer(false);
    let missing = options.open_producer(&path).unwrap_err();
    assert!(matches!(missing, OpenError::Path { .. }), "{missing}");
    assert!(!path.exists());
    options.create_file(true);
    drop(options.open_producer(&path).unwrap());
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // One that is there is left as it is, and so is what opening refuses.
    fs::write(&path, "contents").unwrap();
    drop(options.open_consumer(&path).unwrap());
    assert_eq!(fs::read(&path).unwrap(), b"contents");
    fs::remove_file(&path).unwrap();
    let refused = options.clone().capacity(0).open_producer(&path);
    assert!(matches!(refused, Err(OpenError::Capacity { .. })));
    assert!(!path.exists());
    let nowhere = options.open_producer("/nowhere/at/all").unwrap_err();
    assert_eq!(nowhere.kind(), ErrorKind::NotFound);
    fs::write(&path, "").unwrap(); // as it was found
}
