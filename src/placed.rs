//! A ring in the caller's memory: a memfd, POSIX shared memory, a static.
//!
//! The layout and the code are those of a ring in a segment. The caller allocates
//! the memory, controls access to it, and maps it; for a segment the kernel does
//! this.
#![allow(unsafe_code)] // relies on the caller for an address

use std::ptr::NonNull;

use crate::error::{MemoryError, OpenError, Place};
use crate::handle::ring::Ring;
use crate::open;
use crate::options::Options;
use crate::segment::identity::ring_offset;
use crate::segment::identity::{EXPLICIT_CAPACITY, Geometry};
use crate::segment::layout::Header;
use crate::segment::mapping::Mapping;
use crate::segment::state::LifeCycleKind;

impl Options {
    /// Creates a ring in the caller's memory: `len` bytes from `memory` on. The
    /// memory can be a mapped memfd, POSIX shared memory, or a static.
    ///
    /// The header takes a page, at least 4096 bytes. The ring follows: the largest
    /// power of two that fits, or the [capacity](Options::capacity) asked for,
    /// rounded up to a power of two. The least capacity is one byte. Bytes after
    /// the ring are not touched. `memory` must be a multiple of 128. Pages always are.
    ///
    /// Differences from a ring in a segment:
    ///
    /// - The ring lives as long as the memory, and behaves as a
    ///   [persistent](Options::persistent) ring. A role can be taken again after
    ///   its holder has left or is proven dead. Other options for opening, such as
    ///   the mode, have no effect.
    /// - The ring has no double mapping. Reads and writes continue across the
    ///   ring's end, but a grant ends there: see
    ///   [`ReserveError::Wraps`](crate::ReserveError) and
    ///   [`PeekError::Wraps`](crate::PeekError).
    /// - Only a pidfd proves the death of a peer. A peer in another pid namespace
    ///   counts as alive.
    /// - The ring has no id and no key, and [`Ring::spawn_consumer`] cannot give it
    ///   to a child.
    ///
    /// An existing ring in the memory is overwritten, with all bytes in it. Other
    /// processes [attach](Options::attach_in) the ring after this call has
    /// returned.
    ///
    /// # Errors
    ///
    /// [`OpenError::Memory`] if the memory is too small or misaligned,
    /// [`OpenError::Capacity`], [`OpenError::Mode`]. Nothing was written in these
    /// cases.
    ///
    /// # Safety
    ///
    /// The caller guarantees the following until the [`Ring`], and all handles and
    /// grants made from it, have been dropped. This does not include copies in a
    /// forked process that does not use them.
    ///
    /// - The `len` bytes from `memory` on are mapped for reading and writing, and
    ///   initialised. The file behind them does not shrink. Use `F_SEAL_SHRINK`
    ///   where a peer could shrink a memfd.
    /// - Nothing accesses these bytes but rings of this crate, and other processes.
    ///   Within this process, no reference to these bytes exists.
    ///
    /// During this call, nobody uses an existing ring in the memory, and no other
    /// process or thread creates one.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::cell::UnsafeCell;
    /// use std::io::{Read, Write};
    /// use std::ptr::NonNull;
    /// use shmpipe::Options;
    ///
    /// #[repr(align(4096))]
    /// struct Memory(UnsafeCell<[u8; 3 * 4096]>);
    /// // SAFETY: nothing but the ring uses it.
    /// unsafe impl Sync for Memory {}
    /// static MEMORY: Memory = Memory(UnsafeCell::new([0; 3 * 4096]));
    ///
    /// let memory = NonNull::new(MEMORY.0.get()).unwrap().cast();
    /// // SAFETY: a static is there for ever, and this is its only use.
    /// let ring = unsafe { Options::new().create_in(memory, 3 * 4096) }?;
    /// assert_eq!(ring.capacity(), 8192);
    /// assert_eq!(ring.id(), None);
    /// let (mut producer, mut consumer) = ring.split()?;
    /// producer.write_all(b"through a static")?;
    /// producer.close()?;
    /// let mut text = String::new();
    /// consumer.read_to_string(&mut text)?;
    /// assert_eq!(text, "through a static");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub unsafe fn create_in(&self, memory: NonNull<u8>, len: usize) -> Result<Ring, OpenError> {
        let open = self.checked()?;
        check_alignment(memory)?;
        let capacity = fitting_capacity(len, open.capacity)?;
        let flags = match open.capacity {
            Some(_) => EXPLICIT_CAPACITY,
            None => 0,
        };
        let geometry = Geometry::new(capacity, LifeCycleKind::Placed, open::nonce(), None, flags);
        // SAFETY: the caller vouches for `len` bytes, which are enough for
        // `geometry`, for longer than the ring lives. The alignment was
        // checked.
        let mapping = unsafe { Mapping::format_in(memory, geometry) };
        open::publish(mapping.header());
        Ok(self.ring(mapping, open, true))
    }

    /// Attaches the ring that [`create_in`](Options::create_in) made in this
    /// memory, perhaps in another process or long ago.
    ///
    /// The memory may be mapped at another address than for the creator, and may be
    /// larger. A [capacity](Options::capacity) asked for must be that of the ring.
    ///
    /// # Errors
    ///
    /// [`OpenError::Memory`] if the memory is too small or misaligned, or holds no
    /// ring. The reason is [`Incompatible::HalfMade`](crate::error::Incompatible)
    /// while another process creates the ring. [`OpenError::CapacityMismatch`],
    /// [`OpenError::Capacity`], [`OpenError::Mode`]. Nothing was written in these
    /// cases.
    ///
    /// # Safety
    ///
    /// The guarantees of [`create_in`](Options::create_in) about the `len` bytes.
    /// Unlike there, rings may exist in the memory and be in use.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::{Read, Write};
    /// use std::ptr::NonNull;
    /// use shmpipe::error::MemoryError;
    /// use shmpipe::{OpenError, Options};
    ///
    /// #[derive(Clone)]
    /// #[repr(align(4096))]
    /// struct Page([u8; 4096]);
    ///
    /// let mut pages = vec![Page([0; 4096]); 2];
    /// let len = size_of_val(&pages[..]);
    /// let memory = NonNull::new(pages.as_mut_ptr()).unwrap().cast();
    /// let options = Options::new();
    ///
    /// // SAFETY: here and below, the pages outlive the rings, and nothing else
    /// // uses them meanwhile.
    /// let nothing = unsafe { options.attach_in(memory, len) };
    /// assert!(matches!(nothing, Err(OpenError::Memory(MemoryError::NotARing(_)))));
    ///
    /// // SAFETY: as above, and nobody else makes a ring here.
    /// let mut producer = unsafe { options.create_in(memory, len) }?.into_producer()?;
    /// producer.write_all(b"left in memory")?;
    /// drop(producer);
    ///
    /// // SAFETY: as above.
    /// let mut consumer = unsafe { options.attach_in(memory, len) }?.into_consumer()?;
    /// let mut text = String::new();
    /// consumer.read_to_string(&mut text)?;
    /// assert_eq!(text, "left in memory");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub unsafe fn attach_in(&self, memory: NonNull<u8>, len: usize) -> Result<Ring, OpenError> {
        let open = self.checked()?;
        check_alignment(memory)?;
        let least = ring_offset() + 1;
        if len < least {
            return Err(MemoryError::TooSmall { len, least }.into());
        }
        // SAFETY: the caller vouches for the memory, for longer than the ring
        // lives; the alignment was checked.
        let mapping = unsafe { Mapping::open_in(memory, len) }.map_err(MemoryError::NotARing)?;
        let found = mapping.geometry().capacity;
        match open.capacity.map(usize::next_power_of_two) {
            Some(asked) if asked != found => Err(OpenError::CapacityMismatch {
                at: Place::default(), // memory has no name
                asked,
                found,
            }),
            _ => Ok(self.ring(mapping, open, true)),
        }
    }
}

fn check_alignment(memory: NonNull<u8>) -> Result<(), MemoryError> {
    let alignment = align_of::<Header>();
    let address = memory.addr().get();
    if address.is_multiple_of(alignment) {
        return Ok(());
    }
    Err(MemoryError::Misaligned { address, alignment })
}

/// The capacity in bytes of a ring in `len` bytes of memory. This is the capacity
/// asked for, or the largest power of two that fits. The caller has checked that
/// `asked` is neither zero nor too large.
fn fitting_capacity(len: usize, asked: Option<usize>) -> Result<usize, MemoryError> {
    let wanted = asked.map_or(1, usize::next_power_of_two);
    let least = ring_offset() + wanted;
    match len
        .checked_sub(ring_offset())
        .and_then(usize::checked_ilog2)
    {
        Some(log) if len >= least => Ok(asked.map_or(1 << log, |_| wanted)),
        _ => Err(MemoryError::TooSmall { len, least }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_power_of_two_fits() {
        let header = ring_offset();
        for (behind, capacity) in [
            (1, 1),
            (2, 2),
            (3, 2),
            (4095, 2048),
            (4096, 4096),
            (12_288, 8192),
        ] {
            assert_eq!(fitting_capacity(header + behind, None), Ok(capacity));
        }
        assert_eq!(fitting_capacity(header + 4096, Some(1000)), Ok(1024));
        assert_eq!(fitting_capacity(header + 4096, Some(4096)), Ok(4096));
        let too_small = |len, least| Err(MemoryError::TooSmall { len, least });
        assert_eq!(
            fitting_capacity(header + 4096, Some(4097)),
            too_small(header + 4096, header + 8192)
        );
        for len in [0, 1, header] {
            assert_eq!(fitting_capacity(len, None), too_small(len, header + 1));
        }
    }
}
