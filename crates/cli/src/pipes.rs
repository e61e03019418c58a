//! Pipes as stdin and stdout: made wide, and written to after naps while they are full. Both let
//! each process work for longer before another one has to run.

use std::cell::Cell;
use std::fs::File;
use std::thread;
use std::time::Duration;

use rustix::pipe::{fcntl_getpipe_size, fcntl_setpipe_size};

use crate::stream::BLOCK;

/// The size that stdout's pipe is widened to. Its writer can then nap, and the reader works on for as
/// long as the scheduler gives others the processor.
pub(crate) const WIDE_STDOUT: usize = 4 * BLOCK;
/// The size that stdin's pipe is widened to.
pub(crate) const WIDE_STDIN: usize = BLOCK;
/// The longest nap before a write into a pipe that was full.
const LONGEST_NAP: Duration = Duration::from_millis(1);
/// The shortest one. The kernel adds its timer slack of 50 us.
const SHORTEST_NAP: Duration = Duration::from_micros(20);

/// Lets a pipe hold `wish` bytes, so that the other process has something to do meanwhile. The kernel refuses sizes above `pipe-max-size`, and any growth once the
/// user's pipes have `pipe-user-pages-soft` pages. Then half as much is tried, and so on.
/// Other files stay as they are. Returns the size of a pipe in bytes.
///
/// <https://man7.org/linux/man-pages/man7/pipe.7.html>
pub(crate) fn widen(file: &File, wish: usize) -> Option<usize> {
    let size = fcntl_getpipe_size(file).ok()?; // none if this is no pipe
    let halves = std::iter::successors(Some(wish), |wider| Some(wider / 2));
    let widened = halves
        .take_while(|&wider| wider > size)
        .find_map(|wider| fcntl_setpipe_size(file, wider).ok());
    Some(widened.unwrap_or(size))
}

/// Naps of the writer of a pipe. The kernel wakes a writer at the first free page, and the reader
/// frees the next one a microsecond later. So the two would switch for each page. A writer that naps
/// meanwhile finds a good part of the pipe free, and the reader has the rest to read.
#[derive(Debug)]
pub(crate) struct Naps {
    /// Bytes that the pipe holds.
    size: usize,
    /// The next nap.
    nap: Cell<Duration>,
    /// Bytes that the pipe took since it was last full, if it was.
    taken: Cell<Option<usize>>,
}

impl Naps {
    /// Naps for a pipe of `size` bytes; none for one that a reader empties too soon.
    pub(crate) fn new(size: usize) -> Option<Naps> {
        (size >= BLOCK).then(|| Naps {
            size,
            nap: Cell::new(SHORTEST_NAP),
            taken: Cell::new(None),
        })
    }

    /// Counts the `len` bytes of a write.
    pub(crate) fn count(&self, len: usize) {
        self.taken.set(self.taken.get().map(|taken| taken + len));
    }

    /// Sleeps, since the pipe was full.
    pub(crate) fn take(&self) {
        let nap = self.next();
        self.nap.set(nap);
        // If the pipe took nothing after the last nap, another process writes to the pipe too. This
        // side then competes for each page as that one does.
        if nap > Duration::ZERO && self.taken.get() != Some(0) {
            thread::sleep(nap);
        }
        self.taken.set(Some(0));
    }

    /// The next nap. From the last nap until the pipe was full again, the pipe should have taken a
    /// quarter to a half of its size. Less wakes this side too often, more lets the reader run dry.
    fn next(&self) -> Duration {
        let nap = self.nap.get();
        match self.taken.get() {
            Some(taken) if taken < self.size / 4 => (2 * nap).clamp(SHORTEST_NAP, LONGEST_NAP),
            Some(taken) if taken > self.size / 2 && nap > SHORTEST_NAP => nap / 2,
            Some(taken) if taken > self.size / 2 => Duration::ZERO,
            _ => nap,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The nap after ten naps, each with two writes that the pipe took, of `len` bytes together.
    fn after(naps: &Naps, len: usize) -> Duration {
        for _ in 0..10 {
            naps.taken.set(Some(0));
            naps.count(len / 2);
            naps.count(len - len / 2);
            naps.nap.set(naps.next());
        }
        naps.nap.get()
    }

    #[test]
    fn naps_let_a_quarter_to_a_half_of_the_pipe_pass() {
        const SIZE: usize = WIDE_STDOUT;
        let naps = Naps::new(SIZE).unwrap();
        assert_eq!(after(&naps, SIZE / 4 - 1), LONGEST_NAP);
        assert_eq!(after(&naps, SIZE / 4), LONGEST_NAP);
        assert_eq!(after(&naps, SIZE / 2), LONGEST_NAP);
        assert_eq!(after(&naps, SIZE / 2 + 1), Duration::ZERO);
        assert_eq!(after(&naps, SIZE / 2), Duration::ZERO);
        assert_eq!(after(&naps, SIZE / 4 - 1), LONGEST_NAP);
    }

    #[test]
    fn what_was_written_before_the_pipe_was_full_teaches_nothing() {
        let naps = Naps::new(WIDE_STDOUT).unwrap();
        naps.count(1);
        assert_eq!(naps.next(), SHORTEST_NAP);
        naps.take();
        naps.count(1);
        assert_eq!(naps.next(), 2 * SHORTEST_NAP);
    }

    #[test]
    fn a_small_pipe_is_written_to_at_once() {
        assert!(Naps::new(64 << 10).is_none());
    }
}
