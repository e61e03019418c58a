//! Reads a segment that is not known to be a ring, through an ordinary attachment.
#![allow(unsafe_code)] // follows the address of an attachment

use std::ops::Range;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use super::header_at;
use crate::error::Incompatible;
use crate::segment::identity::LINE;
use crate::segment::layout::Header;
use crate::segment::state::State;
use crate::sync::{Ordering, fence};
use crate::sys::sysv::{self, Attachment};

/// The header of an attachment, to be read only. A segment too small for a header is not a ring.
pub(crate) fn header_of(attachment: &Attachment) -> Result<&Header, Incompatible> {
    // SAFETY: the attachment keeps its length mapped at its page-aligned
    // address for as long as it is borrowed, which is how long the header is.
    unsafe { header_at(attachment.as_ptr(), attachment.len()) }
}

/// Loads the life-cycle word with acquire semantics, so the identity loaded next is the creator's.
///
/// Fit for a read-only mapping: a Relaxed load and an Acquire fence. An Acquire load from a
/// read-only page is not guaranteed to work everywhere (std::sync::atomic, "Atomic accesses to
/// read-only memory").
pub(crate) fn load_state(header: &Header) -> State {
    let word = header.state.word.load(Ordering::Relaxed); // P3, with the fence
    fence(Ordering::Acquire); // P3
    State(word)
}

/// Bytes that are read between two looks at the clock.
const PIECE: usize = 1 << 20;

/// Whether the `len` bytes after the identity line are zero. A shorter attachment is checked to its
/// end. Returns `None` if the check is not done by `latest`; at least one piece is read.
///
/// A page that was never touched is zero. Reading such a page would allocate memory. So the check
/// skips the pages that mincore(2) reports as absent, if no page is in swap space. The attachment
/// must be the only one, or the answer may be wrong.
pub(crate) fn is_zero_after_identity(
    attachment: &Attachment,
    len: usize,
    latest: Instant,
) -> Option<bool> {
    let end = LINE.saturating_add(len).min(attachment.len());
    let resident = || sysv::resident(attachment.id()).filter(|pages| pages.swapped == 0);
    if let Some(before) = resident() {
        let pages = before.in_memory / sysv::page_size() as u64;
        let is_zero = is_zero(attachment, end, Some(pages), latest)?;
        // No page was in swap space, and the count of resident pages did not change, so all of
        // them were read.
        if !is_zero || resident() == Some(before) {
            return Some(is_zero);
        }
    }
    is_zero(attachment, end, None, latest)
}

/// Whether all bytes after the identity line and before `end` are zero. If `in_memory` is given,
/// only that many pages are resident, and only those are read.
fn is_zero(
    attachment: &Attachment,
    end: usize,
    mut in_memory: Option<u64>,
    latest: Instant,
) -> Option<bool> {
    let page = sysv::page_size();
    for start in (0..end).step_by(PIECE) {
        if in_memory == Some(0) {
            break;
        }
        if start > 0 && Instant::now() >= latest {
            return None;
        }
        let piece = start..end.min(start + PIECE);
        let resident = in_memory.and_then(|_| resident_pages(attachment, piece.clone()));
        for (number, start) in piece.clone().step_by(page).enumerate() {
            if resident.as_ref().is_some_and(|pages| !pages[number]) {
                continue;
            }
            in_memory = in_memory.map(|pages| pages.saturating_sub(1));
            let bytes = start.max(LINE)..piece.end.min(start + page);
            if !is_zero_read(attachment, bytes) {
                return Some(false);
            }
        }
    }
    Some(true)
}

/// Which of these pages are in memory. Returns `None` where the kernel does not say. The kernel
/// reports every page as resident if this process may not know.
///
/// <https://man7.org/linux/man-pages/man2/mincore.2.html>
fn resident_pages(attachment: &Attachment, bytes: Range<usize>) -> Option<Vec<bool>> {
    let mut pages = vec![0; bytes.len().div_ceil(sysv::page_size())];
    let place = attachment.as_ptr().wrapping_add(bytes.start);
    // SAFETY: the kernel writes one byte for each page of the range, which is
    // mapped while the attachment is borrowed, and `pages` has as many.
    let done = unsafe { libc::mincore(place.cast(), bytes.len(), pages.as_mut_ptr()) };
    (done == 0).then(|| pages.iter().map(|page| page & 1 == 1).collect())
}

/// Whether these bytes, which begin at a multiple of a word, are zero. Reads whole words. No byte
/// is left out: a segment with the size of a ring ends with a whole word, and a segment of another
/// size is refused before it is attached.
fn is_zero_read(attachment: &Attachment, bytes: Range<usize>) -> bool {
    const WORD: usize = size_of::<u64>();
    let end = bytes.end.min(attachment.len() / WORD * WORD);
    (bytes.start..end).step_by(WORD).all(|offset| {
        let word = attachment.as_ptr().wrapping_add(offset).cast::<AtomicU64>();
        // SAFETY: the word ends inside the attachment, which is page-aligned
        // and borrowed meanwhile; the start and every step are multiples of a
        // word. Any bytes are a valid atomic, and anybody may write them. A
        // read-only mapping is accessed by Relaxed loads alone.
        let word = unsafe { &*word };
        word.load(Ordering::Relaxed) == 0 // compared only
    })
}
