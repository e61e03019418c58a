//! Without `/proc`, of which the IPC namespace is asked.

use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use shmpipe::sysv::{self, Mode};
use shmpipe::{Options, Producer};

use crate::common::{End, Fork, Segment, alone, move_to_own_ipc_namespace, options, page, unique};
use crate::skipped;

const RING: usize = 8192;

/// A folder with an empty file, `ring`, to live in without `/proc`.
struct Cell(PathBuf);

impl Cell {
    fn new() -> Cell {
        let folder = std::env::temp_dir().join(format!("shmpipe-test-cell-{:016x}", unique()));
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("ring"), "").unwrap();
        Cell(folder)
    }

    fn ring(&self) -> PathBuf {
        self.0.join("ring")
    }

    fn chroot(&self) -> bool {
        let folder = CString::new(self.0.as_os_str().as_bytes()).unwrap();
        // SAFETY: a string that ends with a zero.
        unsafe { libc::chroot(folder.as_ptr()) == 0 }
    }

    /// Shuts this process in.
    fn enter(&self) {
        assert!(self.chroot());
        std::env::set_current_dir("/").unwrap();
        assert!(!Path::new("/proc").exists());
    }
}

impl Drop for Cell {
    fn drop(&mut self) {
        let _ = shmpipe::Options::new().force_remove(self.ring());
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Whether chroot(2) could be had, and an IPC namespace of our own.
fn has_cells(test: &str) -> bool {
    let cell = Cell::new(); // of this process, which can still remove the folder
    let mut probe = Fork::new(|| crate::common::exit_now(i32::from(!cell.chroot())));
    let has = move_to_own_ipc_namespace() && probe.wait() == End::Exit(0);
    if !has {
        skipped(test, "chroot");
    }
    has
}

fn named() -> Options {
    let mut options = options();
    options.capacity(RING).wait_for_peer(false);
    options
}

/// A producer of the ring in a cell, in which this process is from here on:
/// entered before the ring was opened, or after.
fn producer_in(cell: &Cell, entered_before: bool) -> Producer {
    if entered_before {
        cell.enter();
        return named().open_producer("/ring").unwrap();
    }
    let producer = named().open_producer(cell.ring()).unwrap();
    cell.enter();
    producer
}

/// Found from outside: an IPC namespace that could not be told any more was
/// taken for another one, and the segment stayed.
#[test]
fn a_ring_goes_with_its_handle_without_proc() {
    const TEST: &str = "proc::a_ring_goes_with_its_handle_without_proc";
    alone(TEST, || {
        if !has_cells(TEST) {
            return;
        }
        for entered_before in [false, true] {
            let cell = Cell::new();
            let mut child = Fork::new(|| {
                let producer = producer_in(&cell, entered_before);
                let key = producer.key().unwrap();
                assert_eq!(sysv::open(key).ok(), producer.id());
                drop(producer);
                assert!(sysv::open(key).is_err());
            });
            assert_eq!(child.wait(), End::Exit(0));
            assert_eq!(sysv::list().unwrap(), [], "{entered_before}");
        }
    });
}

/// What differs from the segment as it was at the attach is left.
#[test]
fn a_segment_that_has_changed_is_left_without_proc() {
    const TEST: &str = "proc::a_segment_that_has_changed_is_left_without_proc";
    alone(TEST, || {
        if !has_cells(TEST) {
            return;
        }
        let cell = Cell::new();
        let mut child = Fork::new(|| {
            let producer = producer_in(&cell, false);
            let id = producer.id().unwrap();
            let stat = sysv::stat(id).unwrap();
            sysv::set(id, stat.uid, stat.gid, Mode::new(0o640).unwrap()).unwrap();
            drop(producer);
            assert!(!sysv::stat(id).unwrap().marked_for_removal);
            sysv::remove(id).unwrap();
        });
        assert_eq!(child.wait(), End::Exit(0));
    });
}

/// Found by reading: two namespaces of which neither could be told counted as
/// one, and a stranger's segment was removed.
#[test]
fn a_strangers_segment_of_the_same_id_is_left_without_proc() {
    const TEST: &str = "proc::a_strangers_segment_of_the_same_id_is_left_without_proc";
    alone(TEST, || {
        if !has_cells(TEST) {
            return;
        }
        let cell = Cell::new();
        for (size, mode) in [(page(), 0o600), (page() + RING, 0o640)] {
            for entered_before in [false, true] {
                let mut child = Fork::new(|| {
                    let producer = producer_in(&cell, entered_before);
                    let id = producer.id().unwrap();
                    assert!(move_to_own_ipc_namespace());
                    let Some(stranger) = Segment::with_id(id, size, mode) else {
                        return skipped(TEST, "a segment of the same id");
                    };
                    drop(producer);
                    assert!(stranger.is_there(), "{size} {mode:o} {entered_before}");
                });
                assert_eq!(child.wait(), End::Exit(0));
                let _ = shmpipe::Options::new().force_remove(cell.ring());
            }
        }
    });
}
