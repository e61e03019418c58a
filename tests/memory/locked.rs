//! A process whose memory is locked (mlockall(2)), and may not lock so much.
#![allow(unsafe_code)] // mlockall(2), setrlimit(2)

use std::io;

use shmpipe::sysv::{self, SysvErrorKind};
use shmpipe::{OpenError, Options};

use crate::common::{Segment, TempPath, alone, is_root, page};

/// From here on what is mapped is locked, 1 MiB of it at most. Says whether
/// that could be had.
fn lock_a_mebibyte() -> bool {
    // Root may lock what it likes.
    // SAFETY: an integer.
    let nobody = !is_root() || unsafe { libc::setuid(65534) } == 0;
    let limit = libc::rlimit {
        rlim_cur: 1 << 20,
        rlim_max: 1 << 20,
    };
    // SAFETY: a valid limit; this process runs one test.
    let limited = unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit) };
    // SAFETY: an integer.
    nobody && limited == 0 && unsafe { libc::mlockall(libc::MCL_FUTURE) } == 0
}

/// Found in use: the kernel's EAGAIN was `WouldBlock`, which one tries again.
#[test]
fn more_than_may_be_locked_is_out_of_memory() {
    alone("locked::more_than_may_be_locked_is_out_of_memory", || {
        assert!(lock_a_mebibyte());
        let segment = Segment::new(None, 4 << 20, 0o600);
        for error in [
            sysv::attach(segment.id).map(drop).unwrap_err(),
            sysv::attach_double(segment.id, page())
                .map(drop)
                .unwrap_err(),
        ] {
            assert_eq!(error.kind(), SysvErrorKind::OutOfMemory, "{error}");
            assert!(error.to_string().contains("`ulimit -l`"), "{error}");
            assert_eq!(io::Error::from(error).kind(), io::ErrorKind::OutOfMemory);
        }
        let path = TempPath::new();
        let mut options = Options::new();
        options.capacity(4 << 20);
        for error in [
            options.create_anonymous().map(drop).unwrap_err(),
            options.open_producer(&path).map(drop).unwrap_err(),
        ] {
            assert!(matches!(error, OpenError::System(_)), "{error:?}");
            assert_eq!(error.kind(), io::ErrorKind::OutOfMemory);
            assert!(error.to_string().contains("`ulimit -l`"), "{error}");
        }
        assert!(!path.leads_to_a_segment());
    });
}
