//! What the two sides of a measurement share beside the channel: a barrier, a cache line to
//! bounce, and room for results.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Instant;

use crate::sys::{Line, Zeroed};

const TEXT: usize = 400;

/// A figure that a side reports.
#[derive(Clone, Copy)]
pub(crate) enum Slot {
    /// The figure that was asked for, as the reader measures it.
    Value,
    /// High percentiles of that figure.
    P99,
    P999,
    /// Bytes of the measured leg.
    Bytes,
    /// Processor seconds of the measured leg.
    Cpu,
    /// System calls that the adapter counts.
    Calls,
    Waits,
    Preemptions,
    /// Seconds of the measured leg in which a side waited for its processor.
    KeptWaiting,
    /// Seconds of the measured leg.
    Elapsed,
    /// The round trip of a bare line, in nanoseconds.
    LineBefore,
    LineAfter,
    End,
}

/// The figures of one side.
#[repr(C, align(128))]
pub(crate) struct Slots([AtomicU64; Slot::End as usize]);

impl Slots {
    pub(crate) fn set(&self, slot: Slot, value: f64) {
        self.0[slot as usize].store(value.to_bits(), Ordering::Release);
    }

    pub(crate) fn get(&self, slot: Slot) -> f64 {
        f64::from_bits(self.0[slot as usize].load(Ordering::Acquire))
    }
}

#[repr(C)]
pub(crate) struct Board {
    line: Line<AtomicU64>,
    arrived: Line<AtomicU64>,
    round: Line<AtomicU64>,
    count: Line<AtomicU64>,
    more: Line<AtomicU64>,
    taken: Line<AtomicU64>,
    failed: Line<AtomicU64>,
    pub(crate) reader: Slots,
    pub(crate) writer: Slots,
    text: [AtomicU8; TEXT],
}

// SAFETY: atomic integers only, for which zero is a value.
#[allow(unsafe_code)]
unsafe impl Zeroed for Board {}

impl Board {
    /// Waits until `parties` threads have called this.
    pub(crate) fn meet(&self, parties: u64) {
        let round = self.round.0.load(Ordering::Acquire);
        if self.arrived.0.fetch_add(1, Ordering::AcqRel) + 1 == parties {
            self.arrived.0.store(0, Ordering::Relaxed);
            self.round.0.store(round + 1, Ordering::Release);
            return;
        }
        let mut looks = 0u32;
        while self.round.0.load(Ordering::Acquire) == round {
            looks += 1;
            std::hint::spin_loop();
            if looks > 20_000 {
                // There may be more parties than processors.
                std::thread::yield_now();
                assert_eq!(
                    self.failed.0.load(Ordering::Relaxed),
                    0,
                    "the other side failed"
                );
            }
        }
    }

    /// Blocks of the next leg, as the first pair says.
    pub(crate) fn count(&self) -> u64 {
        self.count.0.load(Ordering::Acquire)
    }

    pub(crate) fn set_count(&self, count: u64) {
        self.count.0.store(count, Ordering::Release);
    }

    /// Whether another leg of the warm-up follows, as the first pair says.
    pub(crate) fn more(&self) -> bool {
        self.more.0.load(Ordering::Acquire) == 1
    }

    pub(crate) fn set_more(&self, more: bool) {
        self.more.0.store(u64::from(more), Ordering::Release);
    }

    /// Messages that the reader has taken. The writer waits for them in some jobs.
    pub(crate) fn taken(&self) -> u64 {
        self.taken.0.load(Ordering::Acquire)
    }

    pub(crate) fn take(&self) {
        self.taken.0.fetch_add(1, Ordering::AcqRel);
    }

    /// Bounces the line `trips` times; both sides call this. Returns the nanoseconds of a
    /// round trip: the median of several parts, so that an interrupt does not count.
    pub(crate) fn bounce(&self, leads: bool, trips: u64) -> f64 {
        const PARTS: u64 = 16;
        let line = &self.line.0;
        let mut parts = Vec::with_capacity(PARTS as usize);
        let first = line.load(Ordering::Acquire);
        self.meet(2);
        let mut at = first;
        for _ in 0..PARTS {
            let start = Instant::now();
            for _ in 0..trips / PARTS {
                if leads {
                    line.store(at + 1, Ordering::Release);
                    while line.load(Ordering::Acquire) != at + 2 {
                        std::hint::spin_loop();
                    }
                } else {
                    while line.load(Ordering::Acquire) != at + 1 {
                        std::hint::spin_loop();
                    }
                    line.store(at + 2, Ordering::Release);
                }
                at += 2;
            }
            parts.push(start.elapsed().as_nanos() as f64 / (trips / PARTS) as f64);
        }
        self.meet(2);
        crate::figures::stats::median(&mut parts)
    }

    /// Records a failure. The first one is kept.
    pub(crate) fn fail(&self, text: &str) {
        if self.failed.0.swap(1, Ordering::AcqRel) == 0 {
            for (slot, byte) in self.text.iter().zip(text.bytes()) {
                slot.store(byte, Ordering::Relaxed);
            }
        }
    }

    pub(crate) fn failure(&self) -> Option<String> {
        if self.failed.0.load(Ordering::Acquire) == 0 {
            return None;
        }
        let bytes: Vec<u8> = self
            .text
            .iter()
            .map(|byte| byte.load(Ordering::Relaxed))
            .collect();
        let text = String::from_utf8_lossy(&bytes);
        Some(text.trim_end_matches('\0').replace('\n', " "))
    }
}
