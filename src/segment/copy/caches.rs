//! What suits the caches of the processor at hand, as measured. Nothing but speed depends on it.

use std::sync::atomic::{AtomicU8, Ordering};

/// How lines are best brought from one processor's caches to another's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caches {
    /// How many bytes ahead of its copies the writer asks for lines; never, where it is `u64::MAX`.
    pub(crate) writer_ahead: u64,
    /// The same for the reader.
    pub(crate) reader_ahead: u64,
    /// Whether the processor fetches lines by itself that nobody has asked for, also from the peer.
    ///
    /// Then the lines of a small ring that has been read go back to the writer by
    /// [`make_exclusive`](super::make_exclusive), long copies out run from the end to the start, so that what
    /// the caller looks at first was copied last, and so do those of single messages, so that what
    /// is fetched beyond them has been read already and is not what the writer is about to write.
    pub(crate) are_eager: bool,
}

impl Caches {
    /// AMD's. Asking for lines costs a tenth, since they come by themselves.
    const EAGER: Caches = Caches {
        writer_ahead: u64::MAX,
        reader_ahead: u64::MAX,
        are_eager: true,
    };

    /// Intel's, and those of which nothing is known. They hand a line over by themselves to whoever
    /// reads what another has written, and a store more costs a tenth.
    const OTHERS: Caches = Caches {
        writer_ahead: 1 << 10,
        reader_ahead: 4 << 10,
        are_eager: false,
    };

    /// Those of this processor.
    ///
    /// Threads that race for the first call all ask the processor, and get the same answer. A
    /// `OnceLock` would have a child wait for ever that was forked while another thread asked.
    pub(crate) fn here() -> Caches {
        static HERE: AtomicU8 = AtomicU8::new(UNKNOWN);
        const UNKNOWN: u8 = 0;
        const EAGER: u8 = 1;
        const OTHERS: u8 = 2;
        let mut known = HERE.load(Ordering::Relaxed); // the number stands for itself
        if known == UNKNOWN {
            known = if is_amd() { EAGER } else { OTHERS };
            HERE.store(known, Ordering::Relaxed); // as above
        }
        match known {
            EAGER => Self::EAGER,
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
