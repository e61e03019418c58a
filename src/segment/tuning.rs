//! Numbers that decide how fast it goes, and nothing else.

/// The most that a write publishes, or a read releases, at once, so that the
/// reader copies out while the writer copies in; where long pieces pay, the most
/// that a write publishes at first.
pub(crate) const PUBLICATION: usize = 16 << 10;

/// The most that a write publishes next when so many bytes of it are `published`,
/// and `longest` at any time: the longer it is, the less it pays to have the reader
/// right behind.
#[inline]
pub(crate) fn publication(published: usize, longest: usize) -> usize {
    (published / 4).clamp(PUBLICATION, longest)
}
