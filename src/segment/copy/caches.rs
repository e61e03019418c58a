//! Cache behaviour by the processor's maker, as measured. Only speed depends on it.

use std::sync::atomic::{AtomicU8, Ordering};

/// How lines best move from one processor's caches to another's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caches {
    /// The writer's prefetch distance in bytes; `u64::MAX` for no prefetch.
    pub(crate) writer_ahead: u64,
    /// The reader's prefetch distance in bytes; `u64::MAX` for no prefetch.
    pub(crate) reader_ahead: u64,
    /// Whether the processors prefetch modified lines of another core, which no program has asked
    /// for. Three measures then pay:
    ///
    /// * A reader returns the lines of a small ring to the writer by
    ///   [`make_exclusive`](super::make_exclusive), and those of any ring to a far writer.
    /// * Long copies out run from the end to the start, so that the bytes which the caller reads
    ///   first were copied last.
    /// * Copies out of single messages run backwards too. The processor then fetches lines that
    ///   have been read already, and leaves alone the lines that the writer writes next. Forwards,
    ///   round trips of 1 KiB came to 0.69 (interleaved, Zen 3).
    pub(crate) prefetch_from_peer: bool,
}

impl Caches {
    /// AMD. The lines to read come by themselves, and prefetches cost a tenth. Prefetches of the
    /// lines to write cost nothing where the peer is near. Where it is far, they make messages of
    /// 64 bytes twice as fast (Zen 3, interleaved).
    const AMD: Caches = Caches {
        writer_ahead: 1 << 10,
        reader_ahead: u64::MAX,
        prefetch_from_peer: true,
    };

    /// Intel, and unknown processors. A line moves only when a processor asks for it, so prefetches
    /// pay. The additional store that returns a line costs a tenth.
    const OTHERS: Caches = Caches {
        writer_ahead: 1 << 10,
        reader_ahead: 4 << 10,
        prefetch_from_peer: false,
    };

    /// The caches of this processor.
    ///
    /// Threads that race for the first call all ask the processor, and get the same answer. A
    /// `OnceLock` could hang a forked child: one that was forked while another thread asked.
    pub(crate) fn here() -> Caches {
        static HERE: AtomicU8 = AtomicU8::new(UNKNOWN);
        const UNKNOWN: u8 = 0;
        const AMD: u8 = 1;
        const OTHERS: u8 = 2;
        let mut known = HERE.load(Ordering::Relaxed); // publishes no other data
        if known == UNKNOWN {
            known = if is_amd() { AMD } else { OTHERS };
            HERE.store(known, Ordering::Relaxed); // like the load
        }
        match known {
            AMD => Self::AMD,
            _ => Self::OTHERS,
        }
    }
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
fn is_amd() -> bool {
    #[allow(unused_unsafe)] // safe to call in newer Rust
    // SAFETY: every x86-64 processor has the instruction, and leaf 0.
    let vendor = unsafe { std::arch::x86_64::__cpuid(0) };
    let name = [vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes);
    matches!(name.as_flattened(), b"AuthenticAMD" | b"HygonGenuine")
}

#[cfg(not(all(target_arch = "x86_64", not(miri))))]
fn is_amd() -> bool {
    false
}
