//! Segments that consist of huge pages.

use std::fs::{self, File};

use shmpipe::sysv::{self, SegmentId, SysvErrorKind};
use shmpipe::{OpenError, Snapshot};

use crate::common::kill::{open, options};
use crate::common::{Segment, TempPath, alone, bytes_of, page};
use crate::{ROLES, skipped};

/// More of the kernel's huge pages, until dropped; for one process at a time.
struct HugePages {
    before: u64,
    _locked: File,
}

impl HugePages {
    const SETTING: &str = "/proc/sys/vm/nr_hugepages";

    fn count() -> Option<u64> {
        fs::read_to_string(Self::SETTING).ok()?.trim().parse().ok()
    }

    /// `None` where the kernel has none to give, or not to us.
    fn reserve(more: u64) -> Option<HugePages> {
        let locked = File::open(Self::SETTING).ok()?;
        locked.lock().ok()?;
        let pages = HugePages {
            before: Self::count()?,
            _locked: locked,
        };
        let wanted = pages.before + more;
        fs::write(Self::SETTING, wanted.to_string()).ok()?;
        (Self::count()? >= wanted).then_some(pages)
    }

    /// A segment of the shape of a ring of 2 MiB.
    fn segment(&self, key: i32) -> Option<Segment> {
        let flags = libc::IPC_CREAT | libc::IPC_EXCL | libc::SHM_HUGETLB | 0o600;
        // SAFETY: integers.
        let id = unsafe { libc::shmget(key, page() + (2 << 20), flags) };
        let id = SegmentId::from_raw(id).ok()?;
        Some(Segment { id })
    }
}

impl Drop for HugePages {
    fn drop(&mut self) {
        // It could be written a moment ago.
        let _ = fs::write(Self::SETTING, self.before.to_string());
    }
}

/// Found in review: the kernel maps more of such a segment than the size that
/// it reports, and so the double view replaced what was mapped behind it.
#[test]
fn a_segment_of_huge_pages_replaces_no_neighbours() {
    alone(
        "huge_pages::a_segment_of_huge_pages_replaces_no_neighbours",
        || {
            let Some(pages) = HugePages::reserve(2) else {
                return skipped("huge pages");
            };
            let Some(segment) = pages.segment(libc::IPC_PRIVATE) else {
                return skipped("a segment of huge pages");
            };
            let refused = sysv::attach_double(segment.id, page()).unwrap_err();
            assert_eq!(refused.kind(), SysvErrorKind::HugePages);
            assert_eq!(sysv::stat(segment.id).unwrap().attached, 0);
        },
    );
}

/// Found in review: such a segment was looked into as if it could be a ring.
#[test]
fn a_path_that_leads_to_huge_pages_is_refused() {
    alone(
        "huge_pages::a_path_that_leads_to_huge_pages_is_refused",
        || {
            let path = TempPath::new();
            let Some(pages) = HugePages::reserve(2) else {
                return skipped("huge pages");
            };
            let Some(segment) = pages.segment(path.key().raw()) else {
                return skipped("a segment of huge pages");
            };
            for role in ROLES {
                let refused = open(&options(4096), &path, role).unwrap_err();
                let OpenError::System(error) = refused else {
                    panic!("{refused}");
                };
                assert_eq!(error.kind(), SysvErrorKind::HugePages);
            }
            assert!(shmpipe::Options::new().force_remove(&path).is_err());
            assert_eq!(path.segment(), Some(segment.id));
            assert!(bytes_of(segment.id).iter().all(|&byte| byte == 0));
        },
    );
}

/// Found by a test of snapshots beside others: what one thread found free, the next mapping of
/// another took, sixteen times in a row, and an ordinary segment was taken for one of huge pages.
#[test]
fn threads_that_attach_at_once_are_not_refused() {
    const THREADS: usize = 12;
    const LOOKS: usize = 1500;
    let (producer, consumer) = options(page()).create_anonymous().unwrap().split().unwrap();
    let id = producer.id().unwrap();
    std::thread::scope(|scope| {
        for at in 0..THREADS {
            scope.spawn(move || {
                for _ in 0..LOOKS {
                    match at % 3 {
                        0 => std::thread::spawn(|| ()).join().unwrap(),
                        1 => drop(sysv::attach_double(id, page()).unwrap()),
                        _ => drop(Snapshot::of(id).unwrap()),
                    }
                }
            });
        }
    });
    drop(consumer);
}
