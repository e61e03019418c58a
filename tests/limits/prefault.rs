//! Pages that take long to come hold nobody up.

use std::io::{self, ErrorKind, Read, Write};
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::time::Duration;

use shmpipe::{Broken, Options, Role};

use crate::common::kill::{assert_no_segments, open, own_namespace};
use crate::common::{End, Fork, TempPath, alone, until};

/// Milliseconds that this process takes to populate pages.
static NAP: AtomicU64 = AtomicU64::new(0);
/// What that fails with, if it is to.
static ERRNO: AtomicI32 = AtomicI32::new(0);

/// In place of the C library's, for processes that are slow at this point.
///
/// # Safety
///
/// As for madvise(2).
#[unsafe(no_mangle)]
unsafe extern "C" fn madvise(
    address: *mut libc::c_void,
    len: usize,
    advice: libc::c_int,
) -> libc::c_int {
    if advice == libc::MADV_POPULATE_WRITE {
        std::thread::sleep(Duration::from_millis(NAP.load(Ordering::Relaxed)));
        let errno = ERRNO.load(Ordering::Relaxed);
        if errno != 0 {
            // SAFETY: no arguments.
            let place = unsafe { libc::__errno_location() };
            // SAFETY: the thread's own errno.
            unsafe { *place = errno };
            return -1;
        }
    }
    // SAFETY: the caller vouches for the range.
    unsafe { libc::syscall(libc::SYS_madvise, address, len, advice) as libc::c_int }
}

fn prefaulting(limit: u64) -> Options {
    let mut options = limited(limit);
    options.prefault(true);
    options
}

fn limited(limit: u64) -> Options {
    let mut options = crate::small();
    options.timeout(Some(Duration::from_millis(limit)));
    options
}

#[test]
fn the_other_side_does_not_wait_for_the_pages() {
    alone(
        "prefault::the_other_side_does_not_wait_for_the_pages",
        || {
            let isolated = own_namespace();
            for role in [Role::Producer, Role::Consumer] {
                let path = TempPath::new();
                let mut creator = Fork::new(|| {
                    NAP.store(20_000, Ordering::Relaxed);
                    drop(open(&prefaulting(60_000), &path, role));
                });
                until(|| path.leads_to_a_segment());
                // Long before the pages are there.
                drop(open(&limited(10_000), &path, role.peer()).unwrap());
                assert!(creator.is_running());
                creator.kill();
                creator.wait();
            }
            assert_no_segments(isolated);
        },
    );
}

#[test]
fn the_wait_for_the_peer_has_its_own_time() {
    alone("prefault::the_wait_for_the_peer_has_its_own_time", || {
        let isolated = own_namespace();
        for role in [Role::Producer, Role::Consumer] {
            let path = TempPath::new();
            // Whoever makes the ring, and whoever joins it.
            let mut creator = Fork::new(|| {
                NAP.store(1_500, Ordering::Relaxed);
                drop(open(&prefaulting(1_000), &path, role).unwrap());
            });
            until(|| path.leads_to_a_segment());
            NAP.store(1_700, Ordering::Relaxed);
            drop(open(&prefaulting(100), &path, role.peer()).unwrap());
            assert_eq!(creator.wait(), End::Exit(0));
        }
        assert_no_segments(isolated);
    });
}

#[test]
fn a_maker_without_memory_breaks_off_what_was_joined_meanwhile() {
    alone(
        "prefault::a_maker_without_memory_breaks_off_what_was_joined_meanwhile",
        || {
            let isolated = own_namespace();
            let path = TempPath::new();
            let (mut told, mut tell) = io::pipe().unwrap();
            let mut creator = Fork::new(|| {
                NAP.store(300, Ordering::Relaxed);
                ERRNO.store(libc::ENOMEM, Ordering::Relaxed);
                let error = prefaulting(60_000).open_producer(&path).unwrap_err();
                assert_eq!(io::Error::from(error).kind(), ErrorKind::OutOfMemory);
                tell.write_all(b"!").unwrap();
            });
            until(|| path.leads_to_a_segment());
            let mut consumer = crate::small().open_consumer(&path).unwrap();
            let error = consumer.read(&mut [0]).unwrap_err();
            let broken = error.get_ref().unwrap().downcast_ref::<Broken>();
            assert_eq!(broken, Some(&Broken::ProducerAborted), "{error}");
            told.read_exact(&mut [0]).unwrap();
            assert_eq!(creator.wait(), End::Exit(0));
            drop(consumer);
            assert_no_segments(isolated);
        },
    );
}
