//! All tunables: each with its unit, what it trades, and how it was found.
//!
//! Correctness depends on none of them. Figures and machines are in `guide/performance.md`.
//! "Chosen" marks a number that was not found by measurement. "Interleaved" marks a result from a
//! run that alternated two builds. A factor is the speed with the named value, divided by the speed
//! with the value here. The prefetch distances, which differ by the processor's maker, are in
//! `segment/copy/caches.rs`.

use std::time::Duration;

// # Waiting for the peer

/// The longest slice of a sleep. Shorter slices notice a death sooner, at two system calls per
/// slice while idle. Chosen: the public documentation says that a death is noticed within about
/// 10 ms.
pub(crate) const SLICE: Duration = Duration::from_millis(10);

/// The time without a byte after which a reader is idle, and its slices become [`IDLE_SLICE`]. A
/// shorter time saves wake-ups of readers that get a byte now and then, and those notice a death
/// later. Chosen.
pub(crate) const IDLE: Duration = Duration::from_secs(1);

/// The slice of an idle reader whose peer wakes it. Longer slices notice a death and a cancel flag
/// later; with [`SLICE`] an idle reader woke up 99 times a second.
pub(crate) const IDLE_SLICE: Duration = Duration::from_millis(100);

/// The slice once the kernel has refused a barrier that this side had promised (asymmetric fence).
/// A wake may then be missed, and the slice bounds the delay. Chosen.
pub(crate) const SHORT_SLICE: Duration = Duration::from_millis(1);

/// The default spin before a sleep. About the cost of a wake, so that waiting costs at most twice
/// the optimum (competitive spinning, Karlin et al. 1991). A wake took 23 to 27 us on the machines
/// of the comparison. With 10 and 100 us: no better, interleaved.
pub(crate) const SPIN: Duration = Duration::from_micros(30);

/// The longer spin, used after several sleeps that ended within this time. Costs little more
/// processor time than the sleep and the wake that it saves. Without it, messages 60 us apart took
/// 50 times as long to arrive. With 300 us, messages 150 us apart took three times the processor
/// time (interleaved).
pub(crate) const LONG_SPIN: Duration = Duration::from_micros(100);

/// Consecutive sleeps that ended within [`LONG_SPIN`] before that spin is used. A larger number
/// adapts later, a smaller one is misled by chance. With 1: no better. With 16, messages 60 us apart
/// came as late as without the longer spin (interleaved).
pub(crate) const SHORT_SLEEPS: u32 = 4;

/// The measured processor time of a sleep and of the wake by the peer. A spin that ends a wait
/// spares both system calls. A spin that fails costs its own time. With 50 us, messages 150 us
/// apart took twice the processor time, interleaved.
pub(crate) const SPARED: Duration = Duration::from_micros(10);

/// The largest credit for successful spins, in units of [`SPARED`]. One failure of a [`LONG_SPIN`]
/// almost uses it up. A larger number spins longer on a machine that has become busy.
pub(crate) const MOST_CREDIT: u32 = 12;

/// The most waits in a row that park at once after spins that did not pay. A larger number costs
/// fewer trials on a busy machine. Once the machine is idle, the next trial of a spin comes later.
/// With 0, messages 150 us apart took twice the processor time, interleaved.
pub(crate) const MOST_PARKS: u32 = 63;

/// Polls between two looks at the clock. A look costs as much as several polls; fewer looks end the
/// spin later. This many polls take less than a microsecond. With 8 and 512: no better,
/// interleaved.
pub(crate) const SPINS_PER_LOOK: u32 = 64;

/// False wakes in one slice after which the sleeper ignores its peer for the rest of the slice.
/// Bounds the cost of a hostile peer. Chosen.
pub(crate) const FALSE_WAKES: u32 = 16;

/// Sleeps of a set in one slice that ended early with no member ready, after which the set sleeps
/// on no word. This limit is higher than [`FALSE_WAKES`] because it also counts the wakes of members
/// that flood. So the set leaves out several such members, each by its own count, before it gives up
/// all words.
/// The reactor counts only wakes whose cause it does not know, so its limit is [`FALSE_WAKES`].
/// Chosen.
pub(crate) const FRUITLESS: u32 = 4 * FALSE_WAKES;

/// Waits without a sleep after which a side promises barriers (asymmetric fence). A smaller number
/// promises sooner, and more sleeps then pay for a barrier. Without promises, each publication
/// fences: 17 to 50 million fences a second. Writes of 64 B then came to 0.57 to 0.65,
/// interleaved. With 1: no better.
pub(crate) const WAITS_AWAKE: u32 = 16;

/// Bytes found without a wait that count as one wait without a sleep. With calls counted alone,
/// writes of 64 B came to 0.81 to 0.91, interleaved.
pub(crate) const BYTES_AWAKE: u64 = 16 << 10;

/// Fences after which a side promises too, without any wait. Two sides that keep pace never wait,
/// so waits alone would never lead to a promise. Without this rule: 0.92 at 1 KiB and 0.82 at
/// 4 KiB, interleaved; no effect on another machine.
pub(crate) const FENCES_AWAKE: u32 = 64;

/// Consecutive polls without progress of the reader after which the writer takes what room is free.
/// So many polls outlast the longest release on tested machines by some microseconds. With
/// 0, a ring of 64 KiB came to 0.69 to 0.80 at 1 KiB, interleaved. With 4 and 400: no better.
pub(crate) const IDLE_LOOKS: u32 = 40;

// # Coalescing: how long a side leaves the peer's line alone

/// The interval in which bytes gather. Longer intervals move fewer cache lines, and add as much
/// latency. With half, reads of many short writes came to 0.62 to 0.66. With twice: no better
/// (interleaved).
pub(crate) const INTERVAL: Duration = Duration::from_micros(1);

/// The first interval while it is unknown whether waiting pays. Bounds the delay of a lone message.
/// A longer interval finds slower streams. Chosen.
pub(crate) const GLANCE: Duration = Duration::from_nanos(150);

/// Most consecutive intervals under `Pace::Balanced`: while bytes come slowly, and while they come
/// fast. Bounds the added latency to about 8 us. With one each, reads of many short writes came to
/// 0.63 to 0.69, and without any wait to 0.35 to 0.54 (interleaved).
pub(crate) const BALANCED: (u32, u32) = (3, 8);

/// Most consecutive intervals under `Pace::Throughput`: slow and fast alike. More intervals gather
/// more bytes, and add as much latency: at most 64 us. Chosen.
pub(crate) const THROUGHPUT: (u32, u32) = (64, 64);

/// Bytes per interval that count as fast. If nothing counts as fast: 0.68 to 0.82 at 1 KiB,
/// interleaved. With 512: no better.
pub(crate) const FAST: u64 = 2 << 10;

/// Gathered bytes that end the wait even while more come fast, so that they still lie in a cache.
/// With short writes, waiting for this many bytes gained nothing. Without this number, writes of
/// 4 KiB under `Pace::Throughput` came to 0.76, and with 64 KiB here to 0.90 (interleaved).
pub(crate) const ENOUGH: u64 = 1 << 20;

/// The largest backoff: the number of looks that take their bytes at once, after waits did not pay.
/// A larger backoff spares lone messages the delay, and finds a new stream later. With 127 and
/// 8191: no better, interleaved.
pub(crate) const MOST_LOOKS: u32 = 1023;

/// The backoff after seven consecutive waits without effect: messages come alone. With 31 and
/// 1023: no better, interleaved.
pub(crate) const ALONE: u32 = 255;

// # Publication and release

/// Bytes of a publication, and of a release, so that one side copies out while the other copies in.
/// Also the first publication of a long write where longer ones pay. For short writes 4, 8, 32, 64
/// and 256 KiB were no better, interleaved.
pub(crate) const PUBLICATION: usize = 16 << 10;

/// Bytes of the longest publication where backward copies pay (AMD). Without the longer
/// publications, longer releases and backward copies: 31.7 instead of 35.0 GB/s at 64 KiB.
pub(crate) const LONGEST_PUBLICATION: usize = 64 << 10;

/// Bytes of the longest release on AMD; a quarter of the ring at most. With 256 KiB here: 28.3
/// instead of 30.0 GB/s at 1 MiB. These figures are of Zen 4; on Zen 3 the longer pieces and the
/// backward copies changed nothing.
pub(crate) const LONGEST_RELEASE: usize = 1 << 20;

/// Bytes of the shortest read that runs backwards in a large ring on AMD. Shorter ones lost a fifth
/// at 1 KiB.
pub(crate) const SHORTEST_BACKWARDS: usize = 8 << 10;

/// Bytes of the largest ring whose lines the reader returns to a near writer on AMD. Without the
/// return, rings of 64 and 256 KiB came to 0.41 to 0.66, interleaved. Lines of a larger ring leave
/// the reader's cache by themselves, and returning them costs a third. To a far writer, the reader
/// returns lines in any ring: 1.4 to 1.8 times as fast, interleaved. On Intel, returning lines cost
/// a tenth.
pub(crate) const SMALL_RING: usize = 512 << 10;

/// The shortest load that counts as answered by a peer's cache. This side's own cache answers in
/// less, which says nothing about the peer. Must be more than the cost of the clock.
pub(crate) const NEAR_LOAD: Duration = Duration::from_nanos(35);

/// The shortest load that counts as answered by a far cache. On an EPYC of Zen 3, loads took 49 ns
/// where both processors shared their last-level cache, and 139 to 155 ns elsewhere. The clock adds
/// some 20 ns. With 75 or 120 ns here: no better, interleaved.
pub(crate) const FAR: Duration = Duration::from_nanos(95);

/// One look at a position in this many is timed, by reading the clock twice. A larger number costs
/// less, and notices later that a processor has moved. A writer that has room looks once a window, so
/// its decision takes up to a hundred laps. With 2 for the writer, blocks of 1 KiB in place came to
/// 0.84 and 0.94 of the speed (interleaved).
pub(crate) const LOOKS_PER_SAMPLE: u32 = 16;

/// The least number of samples that decide about the distance. A larger number is misled less, and
/// notices later that the host has moved a processor. Chosen.
pub(crate) const SAMPLES: u32 = 6;

/// The most bytes that a commit or a consume in place prefetches. More would fill the buffers of
/// outstanding loads; fewer hide less of the next access. Chosen. After more than 64 bytes, a writer
/// on AMD prefetches only for a far reader. For a near one, blocks of 1 KiB came to 0.73 of the limit
/// with it, and to 0.98 without (interleaved, Zen 3).
pub(crate) const MOST_PREFETCHED: usize = 1 << 10;

/// Bytes of the shortest read whose lines are returned. With 4 KiB, a ring of 64 KiB came to 0.44
/// to 0.50 at 1 KiB, interleaved. With 64 B: no better.
pub(crate) const SHORTEST_RETURNED: u64 = 1 << 10;

/// Bytes of the next publication of a write, of which `published` bytes are out already, and at
/// most `longest`. Publications grow, since the delay of a reader close behind is a smaller part of a
/// longer write.
#[inline]
pub(crate) fn publication(published: usize, longest: usize) -> usize {
    (published / 4).clamp(PUBLICATION, longest)
}

// # Inline messages

/// Consecutive single messages after which a reader sets another delivery hint
/// (`Signals::delivery_hint`). A larger number is misled less by a stream's gaps, and adapts later.
/// With 1 and 64: no better. Without hints, round trips came to 0.66 to 0.88 (interleaved).
pub(crate) const MESSAGES: u32 = 8;

/// Polls for a single message before any other way of waiting: some microseconds. Polling only
/// after the ordinary wait was no better. Without polls, round trips came to 0.58 to 0.91; with 24
/// and 400: no better (interleaved). Few under loom, which runs other threads after each poll.
pub(crate) const MESSAGE_POLLS: u32 = if cfg!(loom) { 2 } else { 96 };

/// Bytes of the longest single message whose lines the writer demotes to the shared cache, or whose
/// next place it prefetches. A round trip of 1 KiB fell from 1388 to 1302 ns on a Xeon, and from
/// 517 to 334 ns on an EPYC.
pub(crate) const DEMOTED: usize = 2 << 10;

// # Opening and removing

/// How long a segment may be in the making before it counts as half made. Longer waits keep an
/// opener longer from a path whose creator died. Making takes 120 us.
pub(crate) const MAKING_LIMIT: Duration = Duration::from_secs(1);

/// How long an opener looks before it reports that the other side waits in another IPC namespace.
/// This exceeds the time in which an ending wait releases its lock. A longer time delays the error.
/// Chosen.
pub(crate) const NAMESPACE_PATIENCE: Duration = Duration::from_millis(200);

/// How long a claim waits for another process that is just claiming or leaving the role. After that
/// the role counts as taken. A claim takes microseconds, but a claimer can lose its processor for a
/// scheduler's slice. A longer wait delays the error where a claimer was stopped. Chosen.
pub(crate) const CLAIM_PATIENCE: Duration = Duration::from_millis(100);

/// Tries to make or join a ring before the clock is checked: one, and one more after the first has
/// removed something. So a limit of zero allows one whole try.
pub(crate) const UNCHECKED_TRIES: u32 = 2;

/// The longest time for reading a segment to find out whether it is all zero. A segment that takes
/// longer counts as in use. A longer time reclaims larger segments, and keeps an opener longer.
/// Chosen.
pub(crate) const ZERO_CHECK_LIMIT: Duration = Duration::from_secs(1);

/// The longest time of a removal: to get the path's lock, and to read what may be a half-made ring.
/// A longer time waits for slower openers, and delays the error. Chosen.
pub(crate) const REMOVAL_LIMIT: Duration = Duration::from_secs(5);

/// Times that a snapshot reads both positions again until they stand still. A larger number finds a
/// pair of one moment more often in a busy ring, and takes longer. Chosen.
pub(crate) const LOOKS: usize = 8;

// # Descriptors

/// How long a descriptor is left alone that poll(2) reports ready, but that transfers nothing.
/// Bounds the system calls of such a descriptor. Chosen.
pub(crate) const DESCRIPTOR_PAUSE: Duration = Duration::from_millis(1);

// # The reactor, and sets

/// How long the reactor's thread stays when no handle is registered. A longer stay avoids the start
/// of a thread, about 30 us. Chosen.
pub(crate) const LINGER: Duration = Duration::from_secs(1);

/// The longest sleep of the reactor and of sets where some wakes do not reach them. A shorter sleep
/// notices those sooner, and costs more wake-ups. Chosen.
pub(crate) const NAP: Duration = Duration::from_millis(1);

/// The most handles whose peers are checked per slice, at about three system calls each. Among
/// hundreds of handles, a larger number notices a death sooner. Chosen.
pub(crate) const ASKED_PER_SLICE: usize = 32;
