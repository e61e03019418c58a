//! Two users and one ring.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, chown};

use shmpipe::{OpenError, Options, RemoveError, Role};

use crate::common::{
    End, Fork, TempPath, alone, is_root, move_to_own_ipc_namespace, options, remove_unused, until,
};
use crate::{become_user, skipped};

const ALICE: u32 = 61_001;
const BOB: u32 = 61_002;
const CAROL: u32 = 61_003;
const GROUP: u32 = 61_000;

/// The file of a ring for two, as `Options::owner` says.
fn shared_path() -> TempPath {
    let path = TempPath::new();
    chown(&path, Some(0), Some(GROUP)).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    path
}

/// What a user of the group asks for who has to do with these others.
fn trusting(others: &[u32]) -> Options {
    let mut options = options();
    options.capacity(4096).mode(0o660);
    for other in others {
        options.owner(*other);
    }
    options
}

/// Has `user` do this, in a process of its own.
fn act(user: u32, part: impl FnOnce()) -> Fork {
    Fork::new(|| {
        assert!(become_user(user, GROUP));
        part();
    })
}

#[track_caller]
fn done(mut part: Fork) {
    assert_eq!(part.wait(), End::Exit(0));
}

/// Whether two other users could be had, who can open our files.
fn has_users(test: &str) -> bool {
    if !is_root() || !move_to_own_ipc_namespace() {
        skipped(test, "other users");
        return false;
    }
    let path = shared_path();
    let mut probe = act(ALICE, || drop(fs::File::open(&path).unwrap()));
    let is_open = probe.wait() == End::Exit(0);
    if !is_open {
        skipped(test, "another user who reads our files");
    }
    is_open
}

/// Whoever opens first makes the ring; the other one joins it.
#[test]
fn two_users_share_a_named_ring() {
    const TEST: &str = "users::two_users_share_a_named_ring";
    alone(TEST, || {
        if !has_users(TEST) {
            return;
        }
        for (first, second) in [(ALICE, BOB), (BOB, ALICE)] {
            for first_role in [Role::Producer, Role::Consumer] {
                let path = shared_path();
                let play = |other: u32, role| {
                    let options = trusting(&[other]);
                    match role {
                        Role::Producer => {
                            let mut producer = options.open_producer(&path).unwrap();
                            producer.write_all(&[7; 10_000]).unwrap();
                            producer.close().unwrap();
                        }
                        Role::Consumer => {
                            let mut bytes = Vec::new();
                            let mut consumer = options.open_consumer(&path).unwrap();
                            consumer.read_to_end(&mut bytes).unwrap();
                            assert_eq!(bytes, [7; 10_000]);
                        }
                    }
                };
                let one = act(first, || play(second, first_role));
                until(|| path.leads_to_a_segment());
                let other = act(second, || play(first, first_role.peer()));
                done(one);
                done(other);
                assert!(!path.leads_to_a_segment());
            }
        }
        assert_eq!(shmpipe::sysv::list().unwrap(), []);
    });
}

/// Found from outside: naming another user was no longer trusting oneself, so
/// a creator could not open its own ring again.
#[test]
fn two_users_share_a_persistent_ring() {
    const TEST: &str = "users::two_users_share_a_persistent_ring";
    alone(TEST, || {
        if !has_users(TEST) {
            return;
        }
        let path = shared_path();
        let write = |other| {
            let mut options = trusting(&[other]);
            let mut producer = options.persistent(true).open_producer(&path).unwrap();
            producer.write_all(b"abc").unwrap();
            producer.close().unwrap();
        };
        let read = |other| {
            let mut options = trusting(&[other]);
            let mut consumer = options.persistent(true).open_consumer(&path).unwrap();
            let mut bytes = Vec::new();
            consumer.read_to_end(&mut bytes).unwrap();
            assert_eq!(bytes, b"abc");
            consumer.close().unwrap();
        };
        for _ in 0..2 {
            done(act(ALICE, || write(BOB))); // hers
            done(act(BOB, || read(ALICE)));
            done(act(BOB, || write(ALICE)));
            done(act(ALICE, || read(BOB)));
        }
        // It is the creator's to remove.
        done(act(BOB, || {
            let removed = shmpipe::Options::new().remove(&path);
            assert!(
                matches!(
                    removed,
                    Err(RemoveError::Open(OpenError::Untrusted {
                        uid: Some(ALICE),
                        ..
                    }))
                ),
                "{removed:?}"
            );
        }));
        done(act(ALICE, || {
            remove_unused(|| shmpipe::Options::new().remove(&path));
        }));
        assert!(!path.leads_to_a_segment());
    });
}

/// Several users can be named; one who is not is not trusted, whatever the
/// group.
#[test]
fn those_named_are_trusted_and_nobody_else() {
    const TEST: &str = "users::those_named_are_trusted_and_nobody_else";
    alone(TEST, || {
        if !has_users(TEST) {
            return;
        }
        let path = shared_path();
        done(act(CAROL, || {
            drop(trusting(&[]).persistent(true).open_producer(&path).unwrap());
        }));
        let open = |others: &[u32]| {
            let mut options = trusting(others);
            options.persistent(true).open_consumer(&path).map(drop)
        };
        for others in [&[][..], &[ALICE], &[BOB, GROUP]] {
            done(act(ALICE, || {
                let opened = open(others);
                assert!(
                    matches!(
                        opened,
                        Err(OpenError::Untrusted {
                            uid: Some(CAROL),
                            ..
                        })
                    ),
                    "{opened:?}"
                );
            }));
        }
        for others in [&[CAROL][..], &[BOB, CAROL], &[CAROL, BOB, CAROL]] {
            done(act(ALICE, || open(others).unwrap()));
        }
    });
}

/// The same without other users: one's own ring is trusted beside theirs.
#[test]
fn a_user_trusts_itself_whomever_it_names() {
    let path = TempPath::new();
    let mut options = options();
    options.persistent(true).owner(BOB).owner(CAROL);
    for _ in 0..2 {
        drop(options.open_producer(&path).unwrap());
        drop(options.open_consumer(&path).unwrap());
    }
}
