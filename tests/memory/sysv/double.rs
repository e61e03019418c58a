//! Double views: the ring mapped twice in a row.

use std::io;

use shmpipe::sysv::{self, DoubleView, SysvErrorKind};

use super::{is_mapped, page, peek, poke, private};
use crate::common::filter::fail_remaps;
use crate::common::maps::{attachments, mappings};
use crate::common::{alone, not_run};

#[test]
fn ring_follows_upon_itself() {
    alone("sysv::double::ring_follows_upon_itself", || {
        // A header of none, of one page, and of more than the ring; a small and a huge ring.
        for (header, capacity) in [
            (0, page()),
            (page(), page()),
            (page(), 4 * page()),
            (3 * page(), page()),
            (page(), 4 << 20),
        ] {
            let len = header + capacity;
            let segment = private(len);
            let view = sysv::attach_double(segment.id, header).unwrap();
            assert_eq!(view.id(), segment.id);
            assert_eq!(view.segment_len(), len);
            assert_eq!(view.len(), len + capacity);
            assert_eq!(segment.stat().attached, DoubleView::VIEWS);
            let base = view.as_ptr();

            // Every page of the ring, from either side.
            for offset in (header..len).step_by(page()) {
                poke(base, offset, 1);
                assert_eq!(peek(base, offset + capacity), 1);
                poke(base, offset + capacity + page() - 1, 2);
                assert_eq!(peek(base, offset + page() - 1), 2);
            }

            // A span over the seam is one slice.
            let seam: Vec<u8> = (1..=64).collect();
            let around = base.wrapping_add(len - 32);
            // SAFETY: 64 bytes inside the view, which nobody else uses.
            let span = unsafe { std::slice::from_raw_parts_mut(around, 64) };
            span.copy_from_slice(&seam);
            // SAFETY: the ring's last 32 bytes, in the first view.
            let end = unsafe { std::slice::from_raw_parts(around, 32) };
            // SAFETY: the ring's first 32 bytes, in the first view.
            let start = unsafe { std::slice::from_raw_parts(base.wrapping_add(header), 32) };
            assert_eq!([end, start].concat(), seam);

            // The segment is what a peer sees who attaches once.
            let single = sysv::attach(segment.id).unwrap();
            assert_eq!(peek(single.as_ptr(), len - 32), 1);
            assert_eq!(peek(single.as_ptr(), header), 33);
            if header > 0 {
                poke(single.as_ptr(), 0, 99);
                assert_eq!(peek(base, 0), 99);
                assert_ne!(peek(base, len), 99);
            }
            drop(single);

            let (start, len) = (base.addr(), view.len());
            drop(view);
            assert_eq!(segment.stat().attached, 0);
            assert!(!is_mapped(start, len));
        }
    });
}

#[test]
fn large_double_view_suits_huge_pages() {
    alone("sysv::double::large_double_view_suits_huge_pages", || {
        for header in [page(), 2 << 20] {
            let segment = private(header + (2 << 20));
            let view = sysv::attach_double(segment.id, header).unwrap();
            assert_eq!(view.as_ptr().addr() % (2 << 20), 0);
        }
    });
}

#[test]
fn double_views_leave_no_mappings() {
    alone("sysv::double::double_views_leave_no_mappings", || {
        for capacity in [page(), 4 << 20] {
            let segment = private(page() + capacity);
            let round = || {
                let view = sysv::attach_double(segment.id, page()).unwrap();
                let (start, len) = (view.as_ptr().addr(), view.len());
                drop(view);
                assert!(!is_mapped(start, len));
            };
            round();
            let before = mappings(|_, _| ()).len();
            for _ in 0..200 {
                round();
            }
            // The heap may have grown by a mapping or two; a leak would be 200.
            assert!(mappings(|_, _| ()).len() < before + 10);
            assert_eq!(segment.stat().attached, 0);
        }
    });
}

#[test]
fn double_view_needs_whole_pages() {
    alone("sysv::double::double_view_needs_whole_pages", || {
        let page_size = page();
        for (segment_len, header_len) in [
            (2 * page_size, 1),
            (2 * page_size + 1, page_size),
            (page_size, page_size),
            (page_size, 2 * page_size),
            (page_size, usize::MAX),
        ] {
            let segment = private(segment_len);
            let error = sysv::attach_double(segment.id, header_len).unwrap_err();
            let expected = SysvErrorKind::NotWholePages {
                segment_len,
                header_len,
                page_size,
            };
            assert_eq!(error.kind(), expected);
            assert_eq!(error.raw_os_error(), None);
            assert_eq!((segment.stat().attached, attachments().len()), (0, 0));
        }
    });
}

#[test]
fn failed_double_view_leaves_nothing() {
    alone("sysv::double::failed_double_view_leaves_nothing", || {
        let capacity = 64 << 20;
        let segment = private(page() + capacity);
        // Room for the segment once, not for the reservation.
        let used: usize = mappings(|range, _| range.len()).iter().sum();
        let limit = (used + capacity + capacity / 2) as libc::rlim_t;
        let limit = libc::rlimit {
            rlim_cur: limit,
            rlim_max: limit,
        };
        // SAFETY: a valid limit; this process runs one test.
        let result = unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const limit) };
        assert_eq!(result, 0);
        let error = sysv::attach_double(segment.id, page()).unwrap_err();
        assert_eq!(error.kind(), SysvErrorKind::OutOfMemory);
        assert!(error.call().starts_with("mmap(addr=NULL, length="));
        assert_eq!(io::Error::from(error).kind(), io::ErrorKind::OutOfMemory);
        assert_eq!((segment.stat().attached, attachments().len()), (0, 0));
    });
}

#[test]
fn double_view_without_second_attach() {
    alone("sysv::double::double_view_without_second_attach", || {
        if !fail_remaps(0, libc::ENOMEM) {
            return not_run("no system-call filters");
        }
        let segment = private(2 * page());
        let error = sysv::attach_double(segment.id, page()).unwrap_err();
        assert_eq!(error.kind(), SysvErrorKind::OutOfMemory);
        assert!(error.call().ends_with(", SHM_REMAP)"));
        assert_eq!((segment.stat().attached, attachments().len()), (0, 0));
    });
}

#[test]
fn double_view_without_first_attach() {
    alone("sysv::double::double_view_without_first_attach", || {
        // The second view of 3 MiB begins 1 MiB past a multiple of 2 MiB, the first one at one.
        if !fail_remaps(1 << 20, libc::ENOMEM) {
            return not_run("no system-call filters");
        }
        let ring = 3 << 20;
        let segment = private(ring);
        let error = sysv::attach_double(segment.id, 0).unwrap_err();
        assert_eq!(error.kind(), SysvErrorKind::OutOfMemory);
        assert_eq!((segment.stat().attached, attachments().len()), (0, 0));

        // The second view's header cannot be known to be ours any more, and stays.
        let segment = private(page() + ring);
        let error = sysv::attach_double(segment.id, page()).unwrap_err();
        assert_eq!(error.kind(), SysvErrorKind::OutOfMemory);
        assert_eq!((segment.stat().attached, attachments().len()), (1, 1));
        assert_eq!(attachments()[0].len(), page());
    });
}
