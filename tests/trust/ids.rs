//! An id that passes to another segment between two calls.

use std::fs::{self, File};
use std::time::Duration;

use shmpipe::sysv::{self, Key, Mode, SegmentId};
use shmpipe::{OpenError, Options, RemoveError};

use crate::common::{
    End, Fork, Segment, TempPath, alone, bytes_of, is_root, move_to_own_ipc_namespace, page,
    stream, unique,
};
use crate::shmat::{before_next_shmat, has_hook};
use crate::{become_user, skipped};

/// Runs `call` with `before` between its looking at an id and its attaching.
fn stalled<T>(before: impl FnOnce() + Send + 'static, call: impl FnOnce() -> T) -> T {
    before_next_shmat(before);
    let result = call();
    assert!(!has_hook(), "nothing was attached");
    result
}

/// Moves to an IPC namespace where an id can be had on purpose. Says whether
/// that, and other users, could be had.
fn has_ids_on_purpose() -> bool {
    cfg!(any(target_arch = "x86_64", target_arch = "aarch64"))
        && is_root()
        && move_to_own_ipc_namespace()
        && File::options().write(true).open(NEXT_ID).is_ok()
}

/// The id that the next segment gets.
const NEXT_ID: &str = "/proc/sys/kernel/shm_next_id";

const STRANGER: u32 = 61_001;
const RING: usize = 8192;

/// Removes the segment `id`, and has a process of another user make one in its
/// place.
fn replace(id: SegmentId, key: Option<Key>, size: usize) {
    sysv::remove(id).unwrap();
    fs::write(NEXT_ID, id.to_string()).unwrap();
    let mut stranger = Fork::new(move || {
        assert!(become_user(STRANGER, STRANGER));
        let planted = sysv::create(key, size, Mode::OWNER_ONLY).unwrap();
        assert_eq!(planted, id);
        let attached = sysv::attach(planted).unwrap();
        for (offset, byte) in stream(1, 0, size).into_iter().enumerate() {
            // SAFETY: inside the attachment, of which nobody else knows.
            unsafe { attached.as_ptr().wrapping_add(offset).write_volatile(byte) };
        }
    });
    assert_eq!(stranger.wait(), End::Exit(0));
}

fn is_of_the_stranger(error: &OpenError) -> bool {
    matches!(error, OpenError::Untrusted { uid, .. } if *uid == Some(STRANGER))
}

/// Why the segment that was to be removed is not.
fn refusal(removed: Result<(), RemoveError>) -> Option<OpenError> {
    match removed {
        Err(RemoveError::Open(error)) => Some(error),
        _ => None,
    }
}

/// Found by reading: whose a segment is was asked before it was attached, and
/// not after.
#[test]
fn a_segment_that_has_taken_over_an_id_is_not_looked_into() {
    const TEST: &str = "ids::a_segment_that_has_taken_over_an_id_is_not_looked_into";
    alone(TEST, || {
        if !has_ids_on_purpose() {
            return skipped(TEST, "an id of one's choice");
        }
        type Call = fn(&Options, &TempPath, SegmentId) -> Option<OpenError>;
        let calls: [(&str, Call); 5] = [
            ("a producer", |options, path, _| {
                options.open_producer(path).err()
            }),
            ("a consumer by key", |options, path, _| {
                options.open_consumer_by_key(path.key()).err()
            }),
            ("by id", |options, _, id| options.attach(id).err()),
            ("removal by path", |_, path, _| {
                refusal(shmpipe::Options::new().force_remove(path))
            }),
            ("removal by id", |_, _, id| {
                refusal(shmpipe::force_remove(id))
            }),
        ];
        for (name, call) in calls {
            let path = TempPath::new();
            let mut options = Options::new();
            options.capacity(RING).persistent(true);
            options.timeout(Some(Duration::from_secs(5)));
            let id = options.open_producer(&path).unwrap().id().unwrap();
            let key = path.key();
            let error = stalled(
                move || replace(id, Some(key), page() + RING),
                || call(&options, &path, id),
            );
            assert!(
                error.as_ref().is_some_and(is_of_the_stranger),
                "{name}: {error:?}"
            );
            assert_eq!(bytes_of(id), stream(1, 0, page() + RING), "{name}");
            assert_eq!(sysv::stat(id).unwrap().attached, 0, "{name}");
            sysv::remove(id).unwrap();
        }
    });
}

/// A sweep removes nothing that was not there when it looked.
#[test]
fn a_segment_that_has_taken_over_an_id_is_not_stale() {
    const TEST: &str = "ids::a_segment_that_has_taken_over_an_id_is_not_stale";
    alone(TEST, || {
        if !has_ids_on_purpose() {
            return skipped(TEST, "an id of one's choice");
        }
        // Half made, as it seems, by the dead; then one that others can open.
        let key = Key::from_raw(0x5e5e_0001).unwrap();
        let left = Segment::by_the_dead(key, page() + RING, 0o600);
        let id = left.id;
        let replace = move || {
            sysv::remove(id).unwrap();
            fs::write(NEXT_ID, id.to_string()).unwrap();
            let planted = Segment::by_the_dead(key, page() + RING, 0o644);
            assert_eq!(planted.id, id);
            std::mem::forget(planted); // `left` removes it
        };
        let removed = stalled(replace, || shmpipe::remove_stale().unwrap());
        assert_eq!(removed, []);
        assert!(left.is_there());
    });
}

/// A key is asked again where the segment that it led to has gone, whatever
/// ring has its id by now.
#[test]
fn a_ring_of_another_key_that_has_taken_over_an_id_is_not_joined() {
    const TEST: &str = "ids::a_ring_of_another_key_that_has_taken_over_an_id_is_not_joined";
    alone(TEST, || {
        if !has_ids_on_purpose() {
            return skipped(TEST, "an id of one's choice");
        }
        let key = |number: i32| Key::from_raw(0x5e5e_0100 + number).unwrap();
        let mut options = Options::new();
        options.capacity(RING).persistent(true);
        let id = options.open_producer_by_key(key(1)).unwrap().id().unwrap();
        let others = options.clone();
        let replace = move || {
            sysv::remove(id).unwrap();
            fs::write(NEXT_ID, id.to_string()).unwrap();
            let mut other = others.open_producer_by_key(key(2)).unwrap();
            assert_eq!(other.id(), Some(id));
            other.try_write(b"for another").unwrap();
        };
        let mut consumer = stalled(replace, || options.open_consumer_by_key(key(1)).unwrap());
        assert_eq!(consumer.key(), Some(key(1)));
        assert_eq!(consumer.available().unwrap(), 0);
        let others = sysv::open(key(2)).unwrap();
        assert_eq!(others, id);
        for id in [consumer.id().unwrap(), others] {
            shmpipe::force_remove(id).unwrap();
        }
    });
}

/// Found by reading: a creator whose new segment was removed, and its id taken
/// over, removed what it found there.
#[test]
fn a_segment_that_has_taken_over_a_new_ones_id_is_not_removed() {
    const TEST: &str = "ids::a_segment_that_has_taken_over_a_new_ones_id_is_not_removed";
    alone(TEST, || {
        if !has_ids_on_purpose() {
            return skipped(TEST, "an id of one's choice");
        }
        for size in [page() + RING, page(), 4 * (page() + RING)] {
            let mut options = Options::new();
            options.capacity(RING).wait_for_peer(false);
            let id = SegmentId::from_raw(70_000 + (unique() % 1000) as i32).unwrap();
            let made = stalled(
                move || replace(id, None, size),
                || {
                    fs::write(NEXT_ID, id.to_string()).unwrap();
                    options.create_anonymous().map(drop)
                },
            );
            assert!(made.is_err(), "{size}");
            assert_eq!(bytes_of(id), stream(1, 0, size));
            sysv::remove(id).unwrap();

            let path = TempPath::new();
            let producer = stalled(
                move || replace(id, None, size),
                || {
                    fs::write(NEXT_ID, id.to_string()).unwrap();
                    options.open_producer(&path)
                },
            );
            // It starts over, unless the stranger's is too long for the place.
            if let Ok(producer) = &producer {
                assert_ne!(producer.id(), Some(id));
            }
            assert_eq!(bytes_of(id), stream(1, 0, size));
            sysv::remove(id).unwrap();
        }
    });
}
