//! The double view of an own segment: what it refuses, and what it leaves behind.

use super::*;
use crate::sys::sysv::{self, Mode};

/// A segment that is removed on drop.
struct Segment(SegmentId);

impl Segment {
    fn new(len: usize) -> Segment {
        Segment(sysv::create(None, len, Mode::OWNER_ONLY).unwrap())
    }

    /// Waits until the segment is attached that often. A child of another test inherits what is
    /// attached here, and is counted until the child ends.
    #[track_caller]
    fn is_attached(&self, times: u64) {
        let start = std::time::Instant::now();
        loop {
            let attached = sysv::stat(self.0).unwrap().attached;
            if attached == times {
                return;
            }
            assert!(start.elapsed().as_secs() < 60, "{attached}, not {times}");
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        let _ = sysv::remove(self.0);
    }
}

/// A segment that a child has made and left behind.
fn of_a_child(len: usize) -> Segment {
    // SAFETY: the child makes bare system calls only, and ends.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: all arguments are numbers.
        let id = unsafe { libc::shmget(libc::IPC_PRIVATE, len, libc::IPC_CREAT | 0o600) };
        // SAFETY: ends this process.
        unsafe { libc::_exit(i32::from(id < 0)) };
    }
    let mut status = 0;
    // SAFETY: a child of this process, not yet reaped. `status` is an int.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert_eq!(status, 0);
    let made = |stat: &sysv::Stat| stat.creator_pid == child && stat.size == len;
    let found = sysv::list().unwrap().into_iter().find(made).unwrap();
    Segment(found.id)
}

#[test]
fn an_own_view_is_a_double_view() {
    for pages in [2, 512, 1024] {
        let (header, capacity) = (page_size(), pages * page_size());
        let segment = Segment::new(header + capacity);
        let view = attach_double_own(segment.0, header, header + capacity).unwrap();
        assert_eq!(view.segment_len(), header + capacity);
        assert_eq!(view.len(), header + 2 * capacity);
        assert_eq!(
            view.as_ptr()
                .align_offset(alignment(header + capacity, page_size())),
            0
        );
        segment.is_attached(DoubleView::VIEWS);
        let at = |offset: usize| view.as_ptr().wrapping_add(offset);
        // SAFETY: called for bytes of the two views, of which nobody else knows.
        let put = |offset, byte| unsafe { at(offset).write_volatile(byte) };
        // SAFETY: called for bytes of the two views, of which nobody else knows.
        let get = |offset| unsafe { at(offset).read_volatile() };
        put(header - 1, 1); // the segment's header, not the second view's
        put(header, 2);
        put(header + capacity - 1, 3);
        assert_eq!(get(header - 1), 1);
        assert_eq!(get(header + capacity), 2);
        assert_eq!(get(header + 2 * capacity - 1), 3);
        drop(view);
        segment.is_attached(0);
    }
}

/// The id has passed to another segment since the call that returned it.
#[test]
fn another_segment_is_refused_and_left() {
    let len = 5 * page_size();
    let strangers = [
        Segment::new(len - page_size()),
        Segment::new(len + page_size()),
        Segment::new(64 * len), // longer than all that was reserved
        of_a_child(len),
    ];
    for segment in &strangers {
        let error = attach_double_own(segment.0, page_size(), len).unwrap_err();
        let in_the_way = matches!(error.kind(), SysvErrorKind::BadAddress { .. }); // too long
        assert!(
            in_the_way || error.kind() == SysvErrorKind::Removed,
            "{error}"
        );
        segment.is_attached(0);
    }
    let gone = Segment::new(len);
    sysv::remove(gone.0).unwrap();
    let error = attach_double_own(gone.0, page_size(), len).unwrap_err();
    assert_eq!(error.kind(), SysvErrorKind::Removed);
}
