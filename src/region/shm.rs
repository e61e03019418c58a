//! Looking into a segment through an attachment that is no ring yet, and may
//! never be one.
#![allow(unsafe_code)] // follows the address of an attachment

use super::header_at;
use crate::error::Incompatible;
use crate::layout::{Header, LINE};
use crate::state::State;
use crate::sync::{Ordering, fence};
use crate::sysv::Attachment;

/// The header of an attachment to look through only. A segment too small to
/// hold one is not a ring.
pub(crate) fn header_of(attachment: &Attachment) -> Result<&Header, Incompatible> {
    // SAFETY: the attachment keeps its length mapped at its page-aligned
    // address for as long as it is borrowed, which is how long the header is.
    unsafe { header_at(attachment.as_ptr(), attachment.len()) }
}

/// Loads the life-cycle word so that the identity read after it is the one
/// its creator published. Fit for a read-only mapping: a Relaxed load and an
/// Acquire fence, since an Acquire load of a page that cannot be written is
/// not promised to work everywhere (std::sync::atomic, "Atomic accesses to
/// read-only memory").
pub(crate) fn load_state(header: &Header) -> State {
    let word = header.state.word.load(Ordering::Relaxed); // P3, with the fence
    fence(Ordering::Acquire); // P3
    State(word)
}

/// Whether the first `len` bytes of an attachment behind its identity line are
/// zero; all of them, if it has fewer.
pub(crate) fn is_zero_behind_identity(attachment: &Attachment, len: usize) -> bool {
    const WORD: usize = size_of::<u64>();
    let end = LINE.saturating_add(len).min(attachment.len() / WORD * WORD);
    (LINE..end).step_by(WORD).all(|offset| {
        let word = attachment.as_ptr().wrapping_add(offset).cast::<u64>();
        // SAFETY: the word ends inside the attachment, which is page-aligned
        // and borrowed meanwhile; LINE and every step are multiples of a
        // word. Others may write it, so the read is volatile.
        unsafe { word.read_volatile() == 0 }
    })
}
