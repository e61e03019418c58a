//! Every number that is a choice: its unit, what it trades, and how it was found.
//!
//! Correctness depends on none of them. Figures and machines stand in
//! `guide/performance.md`: "interleaved" below means a comparison of two builds
//! in one run there. What differs by the maker of the processor (prefetch
//! distances) stands in `segment/copy/caches.rs`.

use std::time::Duration;

// # Waiting for the peer

/// A sleep's longest slice. Shorter slices notice a death sooner, for more system
/// calls while idle: two in each slice. Chosen for "within about 10 ms".
pub(crate) const SLICE: Duration = Duration::from_millis(10);

/// The slice after the kernel refused a promised barrier, when a wake may be
/// missed. Shorter than [`SLICE`], since it bounds that delay. Chosen.
pub(crate) const SHORT_SLICE: Duration = Duration::from_millis(1);

/// The default spin before a sleep. About the cost of a wake, so that waiting costs
/// at most twice what knowing the future would (competitive spinning, Karlin et al.
/// 1991). A wake took 23 to 27 us on the machines of the comparison.
pub(crate) const SPIN: Duration = Duration::from_micros(30);

/// The spin after several sleeps that it would have spared. Longer spins spare a
/// sleep and a wake, whose processor time on both sides is not much less.
pub(crate) const LONG_SPIN: Duration = Duration::from_micros(100);

/// Sleeps in a row that ended within [`LONG_SPIN`] before that spin is used. More of
/// them adapt later, fewer are misled by chance. Chosen.
pub(crate) const SHORT_SLEEPS: u32 = 4;

/// Polls between two looks at the clock. A look costs as much as some polls; fewer
/// looks end the spin later. Chosen: less than a microsecond.
pub(crate) const SPINS_PER_LOOK: u32 = 64;

/// Wakes for nothing in one slice that a peer is allowed, before it is no longer
/// listened to for the rest of the slice. Bounds what a hostile peer costs. Chosen.
pub(crate) const FALSE_WAKES: u32 = 16;

/// Waits without a sleep after which a side promises barriers (asymmetric fence).
/// Fewer promise sooner, and pay a barrier at more of the sleeps. Without a promise
/// at all: a fence at each publication, one to three million in 60 ms.
pub(crate) const WAITS_AWAKE: u32 = 16;

/// Bytes found without a wait that count as one such wait.
pub(crate) const BYTES_AWAKE: u64 = 16 << 10;

/// Fences for a wake after which a side promises, too: of two sides that keep pace
/// neither waits. Chosen.
pub(crate) const FENCES_AWAKE: u32 = 64;

/// Polls of a full ring without more room, after which a reader counts as idle and
/// the writer takes the room there is. Some microseconds more than the longest
/// release takes on the tested machines.
pub(crate) const IDLE_LOOKS: u32 = 40;

// # Coalescing: how long a side leaves the peer's line alone

/// The interval in which bytes gather. Longer intervals move fewer lines, and add as
/// much latency. Half and twice as long: no better, interleaved.
pub(crate) const INTERVAL: Duration = Duration::from_micros(1);

/// The first interval while it is unknown whether waiting pays. Bounds what a message
/// now and then is delayed.
pub(crate) const GLANCE: Duration = Duration::from_nanos(150);

/// Intervals in a row, at most, under `Pace::Balanced`: while bytes come slowly, and
/// while they come fast. Bounds the added latency to about 8 us.
pub(crate) const BALANCED: (u32, u32) = (3, 8);

/// The same under `Pace::Throughput`.
pub(crate) const THROUGHPUT: (u32, u32) = (64, 64);

/// Bytes in an interval that count as fast.
pub(crate) const FAST: u64 = 2 << 10;

/// Bytes that are enough, however fast more come: what has gathered shall still lie in
/// a cache. A reader that waits for a megabyte of short writes was no better.
pub(crate) const ENOUGH: u64 = 1 << 20;

/// Looks without waiting after waits that did not pay, at most (backoff). More spare a
/// lone message the delay, and find a new stream later. Chosen.
pub(crate) const MOST_LOOKS: u32 = 1023;

/// The backoff that seven waits without effect in a row come to: messages come alone.
pub(crate) const ALONE: u32 = 255;

// # Publication and release

/// Bytes of a publication, and of a release, so that one side copies out while the
/// other copies in; the first publication of a long write where longer ones pay. For
/// short writes 4, 8, 32, 64 and 256 KiB were no better, interleaved.
pub(crate) const PUBLICATION: usize = 16 << 10;

/// Bytes of the longest publication where backward copies pay (AMD). 16 KiB in place
/// of it: 31.7 in place of 35.0 GB/s at 64 KiB, together with the next two.
pub(crate) const LONGEST_PUBLICATION: usize = 64 << 10;

/// Bytes of the longest release there; a quarter of the ring at most. 256 KiB in place
/// of it: 28.3 in place of 30.0 GB/s at 1 MiB.
pub(crate) const LONGEST_RELEASE: u64 = 1 << 20;

/// Bytes of the shortest read that runs backwards in a large ring there. Shorter ones
/// lost a fifth at 1 KiB.
pub(crate) const SHORTEST_BACKWARDS: usize = 8 << 10;

/// Bytes of the largest ring whose lines the reader returns to the writer one by one
/// there. Lines of a larger ring leave the reader's cache by themselves. On Intel the
/// same cost a tenth.
pub(crate) const SMALL_RING: u64 = 512 << 10;

/// Bytes of the shortest read whose lines are returned.
pub(crate) const SHORTEST_RETURNED: u64 = 1 << 10;

/// Bytes that the next publication has when so many of the write are `published`, and
/// `longest` at any time: the longer it is, the less it pays to have the reader right
/// behind.
#[inline]
pub(crate) fn publication(published: usize, longest: usize) -> usize {
    (published / 4).clamp(PUBLICATION, longest)
}

// # Inline messages

/// Single messages in a row after which a reader asks for another delivery hint. Fewer
/// are misled by a stream's gaps. Chosen.
pub(crate) const MESSAGES: u32 = 8;

/// Looks for an inline message before any other way of waiting: some microseconds.
/// Looking only after the ordinary wait was no better. Few under loom, which has other
/// threads go on after each.
pub(crate) const MESSAGE_POLLS: u32 = if cfg!(loom) { 2 } else { 96 };

/// Bytes of the longest single message that a writer demotes to the shared cache, or
/// prepares the next place for. Round trip of 1 KiB: 1388 to 1302 ns on a Xeon, 517 to
/// 334 ns on an EPYC.
pub(crate) const DEMOTED: usize = 2 << 10;

// # Opening and removing

/// How long a segment that is being made may take before it counts as half made. Longer
/// waits keep an opener from a path whose creator died. The steps take 120 us.
pub(crate) const BIRTH: Duration = Duration::from_secs(1);

/// How long an opener looks before it says that the other side waits in another IPC
/// namespace. A creator holds its mark for longer only there.
pub(crate) const ELSEWHERE: Duration = Duration::from_millis(200);

/// How long a role may be between two holders before it counts as taken. The steps of a
/// claim take microseconds; a claimer can lose its processor for a scheduler's slice.
pub(crate) const HALF_DONE: Duration = Duration::from_millis(100);

/// Tries to make or join a ring before the clock is asked: one, and one for what the
/// first has removed. So a limit of zero is one whole try.
pub(crate) const UNCHECKED_TRIES: u32 = 2;

/// How long a segment is read, at most, to find out whether it is all zero. What cannot
/// be read in that time is in use.
pub(crate) const READING: Duration = Duration::from_secs(1);

/// How long a removal takes at most: to get the path's lock, and to read what may be a
/// half-made ring.
pub(crate) const REMOVING: Duration = Duration::from_secs(5);

/// How often a snapshot reads both positions again to find them standing still.
pub(crate) const LOOKS: usize = 8;

// # Descriptors

/// How long a descriptor is left alone that is ready by poll(2), and does not take or
/// give what it is asked to. Bounds the system calls of such a one. Chosen.
pub(crate) const DESCRIPTOR_PAUSE: Duration = Duration::from_millis(1);

// # Async handles

/// How long the reactor's thread stays when no handle is on its list. A longer stay
/// spares the start of a thread, about 30 us. Chosen.
#[cfg(feature = "async")]
pub(crate) const LINGER: Duration = Duration::from_secs(1);

/// How long the reactor sleeps where some wakes do not reach it.
#[cfg(feature = "async")]
pub(crate) const NAP: Duration = Duration::from_millis(1);

/// The most handles whose peers are asked after in one slice: about three system calls
/// each. More of them notice a death sooner, among hundreds of handles.
#[cfg(feature = "async")]
pub(crate) const ASKED_PER_SLICE: usize = 32;
