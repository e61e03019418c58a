//! What a creator that died early has left is judged within the limit.

use std::time::Duration;

use shmpipe::error::Incompatible;
use shmpipe::failpoint::{Point, kill_at};
use shmpipe::sysv::{self, SegmentId};
use shmpipe::{Consumer, OpenError, Options, RemoveError, Role};

use crate::common::kill::{assert_no_segments, open, own_namespace};
use crate::common::{
    End, Fork, PATIENCE, Segment, TempPath, alone, page, poke, remove_unused, until,
};

const HUGE: usize = 4 << 30;

/// The most memory that this process has had, in bytes; that of segments counts
/// while they are attached.
fn most_memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib = line.unwrap().split_whitespace().nth(1).unwrap();
    kib.parse::<usize>().unwrap() << 10
}

/// A segment of 4 GiB, left by a creator that died at `point`.
fn leave(path: &TempPath, point: Point) -> SegmentId {
    let mut creator = Fork::new(|| {
        kill_at(point, 0);
        let mut options = Options::new();
        drop(open(options.capacity(HUGE), path, Role::Producer));
    });
    assert_eq!(creator.wait(), End::Signal(libc::SIGKILL));
    path.segment().expect("it is left")
}

fn open_within(limit: Duration, path: &TempPath) -> Result<Consumer, OpenError> {
    let mut options = crate::small();
    options.timeout(Some(limit)).wait_for_peer(false);
    options.open_consumer(path)
}

#[track_caller]
fn opens_within(limit: Duration, path: &TempPath) {
    let consumer = open_within(limit, path).unwrap();
    assert_eq!(consumer.capacity(), crate::CAPACITY);
}

/// Opens, again where a busy machine did not look through the segment in the second that
/// there is for that.
#[track_caller]
fn opens_in_the_end(path: &TempPath) {
    until(|| match open_within(PATIENCE, path) {
        Err(OpenError::NotARing { reason, .. }) => {
            assert_eq!(reason, Incompatible::HalfMade);
            false
        }
        opened => {
            assert_eq!(opened.unwrap().capacity(), crate::CAPACITY);
            true
        }
    });
}

#[test]
fn a_segment_that_nobody_touched_is_reclaimed_within_the_limit() {
    alone(
        "leftovers::a_segment_that_nobody_touched_is_reclaimed_within_the_limit",
        || {
            let isolated = own_namespace();
            let before = most_memory();
            for point in [Point::Created, Point::Attached] {
                for limit in [Duration::from_millis(200), Duration::ZERO] {
                    let path = TempPath::new();
                    leave(&path, point);
                    opens_within(limit, &path);
                }
                let path = TempPath::new();
                let id = leave(&path, point);
                remove_unused(|| shmpipe::remove(id));
                leave(&path, point);
                remove_unused(|| shmpipe::Options::new().remove(&path));
                if isolated {
                    let id = leave(&path, point);
                    assert_eq!(shmpipe::remove_stale().unwrap(), [id]);
                }
            }
            let grown = most_memory() - before;
            assert!(grown < HUGE / 16, "{grown} bytes of memory for a look");
            assert_no_segments(isolated);
        },
    );
}

/// Looking at a segment, as `Snapshot` does, makes its first page.
#[test]
fn pages_that_nobody_touched_are_not_read_behind_one_that_was() {
    alone(
        "leftovers::pages_that_nobody_touched_are_not_read_behind_one_that_was",
        || {
            let isolated = own_namespace();
            let before = most_memory();
            for offset in [0, HUGE / 2] {
                let path = TempPath::new();
                poke(leave(&path, Point::Created), offset, &[0]);
                opens_in_the_end(&path);
            }
            let grown = most_memory() - before;
            assert!(grown < HUGE / 16, "{grown} bytes of memory for a look");

            // What is there is found, wherever it is.
            for offset in [page(), HUGE / 2, HUGE + page() - 1] {
                let path = TempPath::new();
                let id = leave(&path, Point::Created);
                poke(id, offset, &[7]);
                until(|| match shmpipe::force_remove(id).unwrap_err() {
                    RemoveError::InUse { .. } => false, // as above
                    removed => {
                        assert!(matches!(removed, RemoveError::Open(_)), "{removed}");
                        true
                    }
                });
                assert!(path.leads_to_a_segment());
                sysv::remove(id).unwrap();
            }
            assert_no_segments(isolated);
        },
    );
}

/// All of it is there, and zero: that takes longer to read than there is time.
#[test]
fn what_cannot_be_read_in_time_is_in_use() {
    const SIZE: usize = 256 << 20;
    alone("leftovers::what_cannot_be_read_in_time_is_in_use", || {
        let path = TempPath::new();
        let left = Segment::by_the_dead(path.key(), SIZE + page(), 0o600);
        let attached = sysv::attach(left.id).unwrap();
        for offset in (0..attached.len()).step_by(4096) {
            // SAFETY: inside the attachment; volatile, as all access is.
            unsafe { attached.as_ptr().wrapping_add(offset).write_volatile(0) };
        }
        drop(attached);
        for limit in [Duration::ZERO, Duration::from_millis(1)] {
            let mut options = crate::small();
            options.timeout(Some(limit));
            let opened = options.open_consumer(&path).unwrap_err();
            assert_eq!(
                std::io::Error::from(opened).kind(),
                std::io::ErrorKind::TimedOut
            );
            assert!(left.is_there());
        }
    });
}
