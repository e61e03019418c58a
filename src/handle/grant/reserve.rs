//! Asking for room.

use std::time::Instant;

use super::WriteGrant;
use crate::error::ReserveError;
use crate::handle::endpoint::Blocked;
use crate::handle::producer::Producer;
use crate::segment::region::Region;

impl Producer {
    /// Reserves `len` bytes of room, in one piece, to be filled and committed.
    /// Does not block. Bytes that are held back in a batch are published.
    ///
    /// # Errors
    ///
    /// [`ReserveError::Full`] says how much room there is.
    /// [`ReserveError::TooLong`] when the ring is not as long as that.
    /// [`ReserveError::Wraps`] when the ring's end divides the room, as it can
    /// in [memory of the caller's](crate::Options::init_in) only.
    /// [`ReserveError::Broken`] when there is nobody to write for, or the
    /// handle is of no further use.
    ///
    /// # Examples
    ///
    /// ```
    /// use shmpipe::ReserveError;
    ///
    /// let (mut producer, _consumer) = shmpipe::Options::new().capacity(4096).anonymous()?.split()?;
    /// producer.reserve(4000)?.commit(3000);
    /// let full = ReserveError::Full { wanted: 2000, room: 1096 };
    /// assert_eq!(producer.reserve(2000).unwrap_err(), full);
    /// let too_long = ReserveError::TooLong { wanted: 5000, capacity: 4096 };
    /// assert_eq!(producer.reserve(5000).unwrap_err(), too_long);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn reserve(&mut self, len: usize) -> Result<WriteGrant<'_>, ReserveError> {
        let room = self.room_for(len)?;
        if room < len {
            return Err(ReserveError::Full { wanted: len, room });
        }
        self.grant(len)
    }

    /// Reserves as much room as there is in one piece, at most `most` bytes and
    /// at least one. Does not block.
    ///
    /// # Errors
    ///
    /// [`ReserveError::Full`] when there is none.
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut producer, _consumer) = shmpipe::Options::new().capacity(4096).anonymous()?.split()?;
    /// producer.reserve_up_to(4000)?.commit_all();
    /// assert_eq!(producer.reserve_up_to(4000)?.len(), 96);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn reserve_up_to(&mut self, most: usize) -> Result<WriteGrant<'_>, ReserveError> {
        let len = self.room_for(most.min(self.capacity()))?.min(most);
        if len == 0 && most > 0 {
            return Err(ReserveError::Full { wanted: 1, room: 0 });
        }
        let len = len.min(self.contiguous_room());
        self.grant(len)
    }

    /// Reserves `len` bytes of room, in one piece; waits for it until
    /// `deadline`. A deadline that has passed does not keep room that is there
    /// from being granted.
    ///
    /// # Errors
    ///
    /// [`ReserveError::TimedOut`] says how much room there is. Otherwise as
    /// [`reserve`](Self::reserve).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use shmpipe::ReserveError;
    ///
    /// let (mut producer, _consumer) = shmpipe::Options::new().capacity(4096).anonymous()?.split()?;
    /// let soon = Instant::now() + Duration::from_millis(20);
    /// producer.reserve_deadline(4000, soon)?.commit_all();
    /// let error = producer.reserve_deadline(100, soon).unwrap_err();
    /// assert_eq!(error, ReserveError::TimedOut { wanted: 100, room: 96 });
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn reserve_deadline(
        &mut self,
        len: usize,
        deadline: Instant,
    ) -> Result<WriteGrant<'_>, ReserveError> {
        self.wait_to_reserve(len, Some(deadline))?;
        self.grant(len)
    }

    fn wait_to_reserve(
        &mut self,
        len: usize,
        deadline: Option<Instant>,
    ) -> Result<(), ReserveError> {
        if self.room_for(len)? >= len {
            return Ok(());
        }
        match self.wait_for_room(len as u64, len as u64, deadline) {
            Ok(()) => Ok(()),
            Err(Blocked::TimedOut) => match self.room_for(len)? {
                // It came at the last moment.
                room if room >= len => Ok(()),
                room => Err(ReserveError::TimedOut { wanted: len, room }),
            },
            Err(Blocked::Broken(broken)) => Err(broken.into()),
        }
    }

    /// Grants room that is there, if it is in one piece.
    fn grant(&mut self, len: usize) -> Result<WriteGrant<'_>, ReserveError> {
        let contiguous = self.contiguous_room();
        if contiguous < len {
            return Err(ReserveError::Wraps {
                wanted: len,
                contiguous,
            });
        }
        let producer = self;
        Ok(WriteGrant { producer, len })
    }

    /// Bytes from the tail on that are one piece, be they room or not.
    fn contiguous_room(&self) -> usize {
        let writer = self.writer();
        writer.region().contiguous(writer.tail())
    }

    /// The room there is, if the ring is at all as long as `len`.
    pub(crate) fn room_for(&mut self, len: usize) -> Result<usize, ReserveError> {
        self.start_grant()?;
        if len > self.capacity() {
            return Err(ReserveError::TooLong {
                wanted: len,
                capacity: self.capacity(),
            });
        }
        Ok(self.room(len)?)
    }
}
