//! Pages that take long to come hold nobody up.

use std::io::{self, ErrorKind, Read, Write};
use std::sync::Mutex;
use std::time::Duration;

use shmpipe::{Broken, OpenError, Options, Role, sysv};

use crate::common::kill::{assert_no_segments, open, own_namespace};
use crate::common::{
    End, Fork, PATIENCE, TempPath, alone, exit_now, for_some_time, is_locked, is_waited_for, until,
};

/// What this process does before it populates pages, and what that fails with, if
/// it is to.
type Nap = Box<dyn Fn() -> Option<i32> + Send>;
static NAP: Mutex<Option<Nap>> = Mutex::new(None);

fn nap(before: impl Fn() -> Option<i32> + Send + 'static) {
    *NAP.lock().unwrap() = Some(Box::new(before));
}

fn nap_for(time: Duration) {
    nap(move || {
        std::thread::sleep(time);
        None
    });
}

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
        let errno = NAP.lock().unwrap().as_ref().and_then(|nap| nap());
        if let Some(errno) = errno {
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

fn prefaulting(limit: Duration) -> Options {
    let mut options = crate::small();
    options.timeout(Some(limit)).prefault(true);
    options
}

fn opens_in_time(options: &Options, path: &TempPath, role: Role) -> bool {
    match open(options, path, role) {
        Err(OpenError::TimedOut { .. }) => false,
        opened => {
            drop(opened.unwrap());
            true
        }
    }
}

/// Waits until a creator populates pages: it has let go of the lock for that.
fn until_it_populates(path: &TempPath) {
    until(|| path.leads_to_a_segment() && !is_locked(path));
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
                    nap_for(10 * PATIENCE);
                    drop(open(&prefaulting(PATIENCE), &path, role));
                });
                until(|| path.leads_to_a_segment());
                // Long before the pages are there.
                drop(open(&crate::small(), &path, role.peer()).unwrap());
                assert!(creator.is_running());
                creator.kill();
                creator.wait();
            }
            assert_no_segments(isolated);
        },
    );
}

/// The limit of an open leaves out the time that the pages take.
#[test]
fn the_wait_for_the_peer_has_its_own_time() {
    alone("prefault::the_wait_for_the_peer_has_its_own_time", || {
        let isolated = own_namespace();
        for role in [Role::Producer, Role::Consumer] {
            for_some_time(Duration::from_secs(1), |limit| {
                let path = TempPath::new();
                // Whoever makes the ring, and whoever joins it.
                let mut creator = Fork::new(|| {
                    nap_for(limit * 3 / 2);
                    exit_now(i32::from(!opens_in_time(&prefaulting(limit), &path, role)));
                });
                until_it_populates(&path);
                let (file, key) = (path.to_path_buf(), path.key());
                nap(move || {
                    std::thread::sleep(limit * 3 / 2);
                    // Until the creator waits; or until it has given up.
                    until(|| is_waited_for(&file) || sysv::open(key).is_err());
                    None
                });
                let opened = opens_in_time(&prefaulting(limit / 10), &path, role.peer());
                opened && creator.wait() == End::Exit(0)
            });
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
                let key = path.key();
                nap(move || {
                    until(|| sysv::open(key).is_err()); // as of a ring that is paired
                    Some(libc::ENOMEM)
                });
                let error = prefaulting(PATIENCE).open_producer(&path).unwrap_err();
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
