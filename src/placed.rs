//! A ring in memory of the caller's: a memfd, POSIX shared memory, a static.
//!
//! The layout and the code are those of a segment. What the kernel did there is
//! the caller's here: to get the memory, to say who may, and to map it.
#![allow(unsafe_code)] // takes the caller's word for an address

use std::ptr::NonNull;

use crate::error::{MemoryError, OpenError, Place};
use crate::handle::ring::Ring;
use crate::open;
use crate::options::Options;
use crate::segment::identity::ring_offset;
use crate::segment::identity::{EXPLICIT_CAPACITY, Geometry};
use crate::segment::layout::Header;
use crate::segment::region::mapped::MappedRegion;
use crate::segment::state::Kind;

impl Options {
    /// Makes a ring in memory of the caller's: `len` bytes from `memory` on,
    /// such as a mapped memfd, POSIX shared memory, or a static.
    ///
    /// The header takes a page, at least 4096 bytes. Behind it the ring is as
    /// large a power of two as fits, or the [capacity](Options::capacity) that
    /// was asked for, rounded up to a power of two; one byte is enough. What
    /// lies behind the ring is not touched. `memory` must be a multiple of 128
    /// on x86-64 and aarch64, of 256 on any machine: a page always is.
    ///
    /// What is different from a ring in a segment:
    ///
    /// - It lives as long as the memory, and as [one that
    ///   persists](Options::persistent): each role can be taken again once its
    ///   holder has left, or is proven dead. The other options of opening,
    ///   such as the mode, mean nothing here.
    /// - The ring is not mapped twice in a row. Reads and writes of every kind
    ///   go on across its end, but a grant is one piece, and ends there: see
    ///   [`ReserveError::Wraps`](crate::ReserveError) and
    ///   [`PeekError::Wraps`](crate::PeekError).
    /// - That a peer died is proven by its pidfd alone, so a peer in another
    ///   pid namespace counts as alive.
    /// - It has no id and no key, and cannot be handed over by
    ///   [`Ring::spawn_consumer`].
    ///
    /// A ring that was there is overwritten, with whatever was in it. Others
    /// [attach](Options::attach_in) it once this has returned.
    ///
    /// # Errors
    ///
    /// [`OpenError::Memory`] when the memory is too small or misaligned,
    /// [`OpenError::Capacity`], [`OpenError::Mode`]. Nothing was written then.
    ///
    /// # Safety
    ///
    /// From here on until the [`Ring`], and every handle and grant that comes
    /// of it, has been dropped, or inherited by a process that does not use it:
    ///
    /// - The `len` bytes from `memory` on are mapped for reading and writing,
    ///   and initialised. What backs them does not shrink, as a file can: use
    ///   `F_SEAL_SHRINK` where a peer could make it.
    /// - Nothing accesses them but rings of this crate, and strangers in other
    ///   processes; within this process, no reference leads to them.
    ///
    /// And while this call runs nobody uses a ring that is there, and nobody
    /// else makes one: the caller sees to it that one process or thread does.
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
        let geometry = Geometry::new(capacity, Kind::Placed, open::nonce(), None, flags);
        // SAFETY: the caller vouches for `len` bytes, which are enough for
        // `geometry`, for longer than the ring lives. The alignment was
        // checked, and `ring_offset` is at least the size of a `Header`.
        let region = unsafe { MappedRegion::format_in(memory, geometry) };
        open::publish(&region);
        Ok(self.ring(region, open, true))
    }

    /// Attaches the ring that [`create_in`](Options::create_in) made in this
    /// memory, perhaps in another process, perhaps long ago.
    ///
    /// The memory may be mapped at another address, and more of it than when
    /// the ring was made. A [capacity](Options::capacity) that is asked for
    /// must be the ring's.
    ///
    /// # Errors
    ///
    /// [`OpenError::Memory`] when the memory is too small or misaligned, or
    /// holds no ring; [`Incompatible::HalfMade`](crate::error::Incompatible) while one
    /// is being made. [`OpenError::CapacityMismatch`], [`OpenError::Capacity`],
    /// [`OpenError::Mode`]. Nothing was written then.
    ///
    /// # Safety
    ///
    /// As [`create_in`](Options::create_in), but that rings may be there, and used.
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
        let region =
            unsafe { MappedRegion::open_in(memory, len) }.map_err(MemoryError::NotARing)?;
        let found = region.geometry().capacity;
        match open.capacity.map(usize::next_power_of_two) {
            Some(asked) if asked as u64 != found => Err(OpenError::CapacityMismatch {
                at: Place::default(), // memory has no name
                asked: asked as u64,
                found,
            }),
            _ => Ok(self.ring(region, open, true)),
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

/// The bytes of a ring in `len` bytes of memory: those asked for, or as large a
/// power of two as fits. Those asked for are neither zero nor absurdly many.
fn fitting_capacity(len: usize, asked: Option<usize>) -> Result<u64, MemoryError> {
    let wanted = asked.map_or(1, usize::next_power_of_two);
    let least = ring_offset() + wanted;
    match len
        .checked_sub(ring_offset())
        .and_then(usize::checked_ilog2)
    {
        Some(log) if len >= least => Ok(asked.map_or(1 << log, |_| wanted as u64)),
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
