//! The contenders whose memory can be written and read in place.
#![allow(unsafe_code)] // memory that is said to be initialised

use std::mem::MaybeUninit;

use super::halves;
use super::{ANY, Contender, limit};
use crate::figures::Kind;
use crate::run::{Run, processes, processes_in_place, threads_in_place};

/// Every contender of this build that lends its memory, ours first. All take the same
/// blocks.
pub(crate) fn all() -> Vec<Contender> {
    use super::shmpipe::{ManyInAGrant, Ring};

    let entry = |name, kind, run| Contender {
        name,
        kind,
        run,
        most: ANY,
    };
    #[allow(unused_mut)] // where no feature is on
    let mut all = vec![
        entry("shmpipe", Kind::Ours, processes_in_place::<Ring> as Run),
        entry(
            "shmpipe, many in a grant",
            Kind::Ours,
            processes_in_place::<ManyInAGrant>,
        ),
        entry("shmpipe, copying", Kind::Ours, processes::<Ring>),
        entry("rtrb", Kind::Threads, threads_in_place::<super::rtrb::Ring>),
    ];
    #[cfg(feature = "rings")]
    all.extend([
        entry(
            "ringbuf",
            Kind::Threads,
            threads_in_place::<super::ringbuf::Ring>,
        ),
        entry(
            "bbqueue",
            Kind::Threads,
            threads_in_place::<super::bbqueue::Ring>,
        ),
        entry(
            "cueue",
            Kind::Crate,
            processes_in_place::<super::cueue::Ring>,
        ),
        entry(
            "shmem-ipc",
            Kind::Crate,
            processes_in_place::<super::shmem_ipc::Ring>,
        ),
    ]);
    #[cfg(feature = "iceoryx2")]
    all.push(entry(
        "iceoryx2",
        Kind::Crate,
        processes_in_place::<super::iceoryx2::Service>,
    ));
    all
}

/// Each side of a ring alone, in place.
pub(crate) fn limits() -> [Contender; 2] {
    [
        limit("the writer's half, in place", halves::writer_in_place),
        limit("the reader's half, in place", halves::reader_in_place),
    ]
}

/// Memory as bytes.
///
/// # Safety
///
/// The memory is initialised.
#[inline(always)]
pub(super) unsafe fn initialised(memory: &mut [MaybeUninit<u8>]) -> &mut [u8] {
    let bytes = std::ptr::from_mut(memory) as *mut [u8];
    // SAFETY: the same memory with the same lifetime, which the caller says is initialised.
    unsafe { &mut *bytes }
}
