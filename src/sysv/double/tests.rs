//! The view of an own segment: what it refuses, and what it leaves.

use super::*;
use crate::sysv::{self, Mode};

/// A segment that is removed at the end.
struct Segment(SegmentId);

impl Segment {
    fn new(len: usize) -> Segment {
        Segment(sysv::create(None, len, Mode::OWNER_ONLY).unwrap())
    }

    fn attached(&self) -> u64 {
        sysv::stat(self.0).unwrap().attached
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        let _ = sysv::remove(self.0);
    }
}

/// The id of a segment that a child has made and left.
fn of_a_child(len: usize) -> Segment {
    let mut ends = [0; 2];
    // SAFETY: writes two integers.
    assert_eq!(unsafe { libc::pipe(ends.as_mut_ptr()) }, 0);
    // SAFETY: the child makes bare system calls only, and ends.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: numbers; `id` is as long as is said; ends the child.
        unsafe {
            let id = libc::shmget(libc::IPC_PRIVATE, len, libc::IPC_CREAT | 0o600);
            libc::write(ends[1], (&raw const id).cast(), size_of_val(&id));
            libc::_exit(0);
        }
    }
    assert!(child > 0);
    let mut id = -1i32;
    // SAFETY: `id` is as long as is said; a child of ours; descriptors of ours.
    unsafe {
        libc::close(ends[1]);
        let read = libc::read(ends[0], (&raw mut id).cast(), size_of_val(&id));
        libc::close(ends[0]);
        libc::waitpid(child, std::ptr::null_mut(), 0);
        assert_eq!(read, 4);
    }
    Segment(SegmentId::from_raw(id).unwrap())
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
        assert_eq!(segment.attached(), DoubleView::VIEWS);
        let at = |offset| view.as_ptr().wrapping_add(offset);
        // SAFETY: all inside the two views, of which nobody else knows.
        unsafe {
            at(header - 1).write_volatile(1); // the header, and not the second view's
            at(header).write_volatile(2);
            at(header + capacity - 1).write_volatile(3);
            assert_eq!(at(header - 1).read_volatile(), 1);
            assert_eq!(at(header + capacity).read_volatile(), 2);
            assert_eq!(at(header + 2 * capacity - 1).read_volatile(), 3);
        }
        drop(view);
        assert_eq!(segment.attached(), 0);
    }
}

/// An id that has passed to another segment since the call that gave it.
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
        assert_eq!(segment.attached(), 0);
    }
    let gone = Segment::new(len);
    sysv::remove(gone.0).unwrap();
    let error = attach_double_own(gone.0, page_size(), len).unwrap_err();
    assert_eq!(error.kind(), SysvErrorKind::Removed);
}
