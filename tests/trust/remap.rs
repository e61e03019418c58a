//! A view whose attachment is refused half way.

use std::time::{Duration, Instant};

use shmpipe::sysv::{self, Mode};

use crate::common::filter::fail_remaps;
use crate::common::maps::{attachments, mappings};
use crate::common::{End, Fork, Segment, alone, is_root, page};
use crate::{become_user, skipped};

/// Bytes of address space that this process has mapped.
fn mapped() -> usize {
    mappings(|range, _| range.len()).iter().sum()
}

fn attached(segment: &Segment) -> u64 {
    sysv::stat(segment.id).unwrap().attached
}

const RING: usize = 513 << 20;

/// The second view of 513 MiB begins 1 MiB past a multiple of 2 MiB, the first
/// one at one: by this bit the second is spared.
const SECOND: u32 = 1 << 20;

/// A call that fails before the kernel touches the range leaves nothing:
/// neither an attachment nor the address space that was reserved.
#[test]
fn a_refused_remap_leaves_nothing() {
    const TEST: &str = "remap::a_refused_remap_leaves_nothing";
    alone(TEST, || {
        for errno in [
            libc::EACCES,
            libc::EPERM,
            libc::EINVAL,
            libc::EIDRM,
            libc::ENFILE,
            libc::EINTR,
            libc::EAGAIN,
        ] {
            for spared in [0, SECOND] {
                let mut child = Fork::new(|| {
                    if !fail_remaps(spared, errno) {
                        return skipped(TEST, "a system-call filter");
                    }
                    let segment = Segment::new(None, page() + RING, 0o600);
                    let before = mapped();
                    for _ in 0..3 {
                        let error = sysv::attach_double(segment.id, page()).unwrap_err();
                        assert_eq!(error.raw_os_error(), Some(errno));
                        assert_eq!((attached(&segment), attachments().len()), (0, 0), "{errno}");
                        let left = mapped().saturating_sub(before);
                        assert!(left < 1 << 20, "{errno}: {left} bytes"); // the heap's
                    }
                });
                assert_eq!(child.wait(), End::Exit(0));
            }
        }
    });
}

/// The same of a ring that is made.
#[test]
fn a_ring_that_cannot_be_attached_leaves_nothing() {
    const TEST: &str = "remap::a_ring_that_cannot_be_attached_leaves_nothing";
    alone(TEST, || {
        crate::common::move_to_own_ipc_namespace();
        if !fail_remaps(0, libc::EACCES) {
            return skipped(TEST, "a system-call filter");
        }
        let path = crate::common::TempPath::new();
        let before = mapped();
        let options = crate::common::options();
        options.create_anonymous().unwrap_err();
        options.open_producer(&path).unwrap_err();
        assert_eq!(attachments(), []);
        assert!(mapped().saturating_sub(before) < 1 << 20);
        assert!(!path.leads_to_a_segment());
        let made_here = |stat: &sysv::Stat| stat.creator_pid == std::process::id() as i32;
        assert!(!sysv::list().unwrap().iter().any(made_here));
    });
}

/// Where the kernel may have touched the range, what it did not cover is given
/// back all the same.
#[test]
fn what_a_failed_remap_did_not_cover_is_given_back() {
    const TEST: &str = "remap::what_a_failed_remap_did_not_cover_is_given_back";
    alone(TEST, || {
        if !fail_remaps(0, libc::ENOMEM) {
            return skipped(TEST, "a system-call filter");
        }
        let segment = Segment::new(None, page() + RING, 0o600);
        let before = mapped();
        sysv::attach_double(segment.id, page()).unwrap_err();
        assert_eq!((attached(&segment), attachments().len()), (0, 0));
        let left = mapped() - before;
        assert!((RING..RING + (2 << 20)).contains(&left), "{left} bytes");
    });
}

/// Found from outside: a peer of the same user made attachments leak at will,
/// by taking the mode away at the right moments.
#[test]
fn a_mode_that_comes_and_goes_leaves_no_attachments() {
    const TEST: &str = "remap::a_mode_that_comes_and_goes_leaves_no_attachments";
    const NOBODY: u32 = 65_534;
    alone(TEST, || {
        let mut victim = Fork::new(|| {
            // To root a mode means nothing.
            if is_root() && !become_user(NOBODY, NOBODY) {
                return skipped(TEST, "another user");
            }
            let segment = Segment::new(None, 2 * page(), 0o600);
            let stat = sysv::stat(segment.id).unwrap();
            let set = |mode| sysv::set(segment.id, stat.uid, stat.gid, mode).unwrap();
            let peer = Fork::new(|| {
                loop {
                    set(Mode::new(0).unwrap());
                    set(Mode::OWNER_ONLY);
                }
            });
            let mut refused = 0;
            let start = Instant::now();
            while start.elapsed() < Duration::from_secs(1) {
                match sysv::attach_double(segment.id, page()) {
                    Ok(view) => drop(view),
                    Err(error) if error.call().ends_with(", SHM_REMAP)") => refused += 1,
                    Err(_) => {}
                }
            }
            drop(peer);
            println!("{refused} attachments were refused half way");
            set(Mode::OWNER_ONLY);
            assert_eq!((attached(&segment), attachments().len()), (0, 0));
        });
        assert_eq!(victim.wait(), End::Exit(0));
    });
}
