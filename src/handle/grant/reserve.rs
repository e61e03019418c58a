//! Grants of room.

use std::ptr::NonNull;
use std::time::Instant;

use super::WriteGrant;
use crate::error::ReserveError;
use crate::handle::endpoint::Blocked;
use crate::handle::producer::Producer;
use crate::segment::region::Region;

impl Producer {
    /// Reserves `len` bytes of room, in one piece, to be filled and committed.
    /// Never waits; [`reserve`](Self::reserve) does.
    ///
    /// # Errors
    ///
    /// [`ReserveError::Full`] returns how much room there is.
    /// [`ReserveError::TooLong`] if `len` is more than the capacity.
    /// [`ReserveError::Wraps`] if the room wraps, which happens only in [the caller's
    /// memory](crate::Options::create_in).
    /// [`ReserveError::Broken`] if there is no consumer to write for, or the handle
    /// is unusable.
    ///
    /// # Examples
    ///
    /// ```
    /// use shmpipe::ReserveError;
    ///
    /// let (mut producer, _consumer) = shmpipe::Options::new().capacity(4096).create_anonymous()?.split()?;
    /// producer.try_reserve(4000)?.commit(3000);
    /// let full = ReserveError::Full { wanted: 2000, room: 1096 };
    /// assert_eq!(producer.try_reserve(2000).unwrap_err(), full);
    /// let too_long = ReserveError::TooLong { wanted: 5000, capacity: 4096 };
    /// assert_eq!(producer.try_reserve(5000).unwrap_err(), too_long);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "write_chunk")]
    #[inline]
    pub fn try_reserve(&mut self, len: usize) -> Result<WriteGrant<'_>, ReserveError> {
        if !self.has_known_room(len) {
            self.look_for_room(len)?;
        }
        Ok(WriteGrant::new(self, len))
    }

    /// Reserves the room available in one piece: at least one byte, and at most
    /// `most`. With a `most` of 0, the grant is empty. Never waits;
    /// [`reserve_up_to`](Self::reserve_up_to) does.
    ///
    /// # Errors
    ///
    /// [`ReserveError::Full`] if there is no room. [`ReserveError::Broken`] if
    /// there is no consumer to write for, or the handle is unusable.
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut producer, _consumer) = shmpipe::Options::new().capacity(4096).create_anonymous()?.split()?;
    /// producer.try_reserve_up_to(4000)?.commit_all();
    /// assert_eq!(producer.try_reserve_up_to(4000)?.len(), 96);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn try_reserve_up_to(&mut self, most: usize) -> Result<WriteGrant<'_>, ReserveError> {
        let mut len = most;
        if !self.has_known_room(len) {
            len = self.look_for_some_room(most)?;
        }
        Ok(WriteGrant::new(self, len))
    }

    /// Reserves `len` bytes of room, in one piece, to be filled and committed.
    /// Waits for the room, within the handle's [timeout](Self::set_timeout).
    ///
    /// # Errors
    ///
    /// [`ReserveError::TimedOut`] returns how much room there is.
    /// [`ReserveError::Broken`] if the consumer has left or died. Otherwise the
    /// errors of [`try_reserve`](Self::try_reserve).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::Read;
    ///
    /// let (mut producer, mut consumer) = shmpipe::Options::new().capacity(4096).create_anonymous()?.split()?;
    /// producer.reserve(4096)?.commit_all();
    /// let reader = std::thread::spawn(move || consumer.read_exact(&mut [0; 5000]));
    /// producer.reserve(1000)?.commit_all(); // waits for the reader
    /// # reader.join().unwrap()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "write_chunk")]
    #[inline]
    pub fn reserve(&mut self, len: usize) -> Result<WriteGrant<'_>, ReserveError> {
        if !self.has_known_room(len) {
            self.reserve_slow(len)?;
        }
        Ok(WriteGrant::new(self, len))
    }

    /// Reserves the room available in one piece, at most `most` bytes. Waits for at
    /// least one byte, within the handle's [timeout](Self::set_timeout).
    ///
    /// # Errors
    ///
    /// The errors of [`reserve`](Self::reserve), except [`ReserveError::TooLong`] and
    /// [`ReserveError::Wraps`].
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut producer, mut consumer) = shmpipe::Options::new().capacity(4096).create_anonymous()?.split()?;
    /// assert_eq!(producer.reserve_up_to(usize::MAX)?.len(), 4096);
    /// producer.try_write(&[7; 4000]).unwrap();
    /// assert_eq!(producer.reserve_up_to(1000)?.len(), 96);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn reserve_up_to(&mut self, most: usize) -> Result<WriteGrant<'_>, ReserveError> {
        let mut len = most;
        if !self.has_known_room(len) {
            len = self.reserve_some_slow(most)?;
        }
        Ok(WriteGrant::new(self, len))
    }

    /// Reserves the room available in one piece, at most `most` bytes. Waits for at
    /// least one byte until `deadline`. After the deadline, available room is still
    /// granted.
    ///
    /// # Errors
    ///
    /// The errors of [`reserve_up_to`](Self::reserve_up_to). The handle's timeout
    /// does not apply.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Instant;
    /// use shmpipe::ReserveError;
    ///
    /// let (mut producer, _consumer) = shmpipe::Options::new().capacity(4096).create_anonymous()?.split()?;
    /// producer.reserve_up_to_deadline(5000, Instant::now())?.commit_all();
    /// let error = producer.reserve_up_to_deadline(100, Instant::now()).unwrap_err();
    /// assert_eq!(error, ReserveError::TimedOut { wanted: 1, room: 0 });
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn reserve_up_to_deadline(
        &mut self,
        most: usize,
        deadline: Instant,
    ) -> Result<WriteGrant<'_>, ReserveError> {
        let len = self.wait_to_reserve_some(most, Some(deadline))?;
        Ok(WriteGrant::new(self, len))
    }

    /// Returns the room that [`try_reserve_up_to`](Self::try_reserve_up_to) would
    /// grant, as an address and a length, for bindings that cannot express a
    /// borrow. [`commit_raw`](Self::commit_raw) commits the bytes written there.
    /// Never waits; [`wait_writable`](Self::wait_writable) does.
    ///
    /// The room is the producer's until the next call on this handle, and is mapped
    /// while the handle lives. A peer that breaks the protocol can write there too:
    /// see [`WriteGrant::as_mut_ptr`].
    ///
    /// # Errors
    ///
    /// The errors of [`try_reserve_up_to`](Self::try_reserve_up_to).
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut producer, mut consumer) = shmpipe::pair()?;
    /// let room = producer.try_reserve_raw(3)?;
    /// for (offset, byte) in b"abc".iter().enumerate() {
    ///     // SAFETY: inside the room, and volatile, whoever the peer is.
    ///     unsafe { room.cast::<u8>().add(offset).write_volatile(*byte) };
    /// }
    /// producer.commit_raw(3)?;
    /// let mut bytes = [0; 3];
    /// assert_eq!(consumer.try_read(&mut bytes), Ok(3));
    /// assert_eq!(&bytes, b"abc");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn try_reserve_raw(&mut self, most: usize) -> Result<NonNull<[u8]>, ReserveError> {
        let len = self.try_reserve_up_to(most)?.len();
        let writer = self.writer();
        let first = writer.region().at(writer.tail(), len);
        Ok(NonNull::slice_from_raw_parts(first, len))
    }

    /// Writes the next `len` bytes of room to the stream, with their present
    /// content. Publishes them, unless a [batch](Self::set_batch) holds them back.
    /// The content is what was written to the address of
    /// [`try_reserve_raw`](Self::try_reserve_raw), if no other call came between.
    /// Otherwise the content may be bytes of an earlier lap.
    ///
    /// # Errors
    ///
    /// The errors of [`try_reserve`](Self::try_reserve) for `len` bytes. Nothing
    /// was written.
    ///
    /// # Examples
    ///
    /// ```
    /// use shmpipe::ReserveError;
    ///
    /// let (mut producer, mut consumer) = shmpipe::Options::new().capacity(4096).create_anonymous()?.split()?;
    /// producer.commit_raw(4000)?;
    /// assert_eq!(consumer.available()?, 4000);
    /// let full = Err(ReserveError::Full { wanted: 97, room: 96 });
    /// assert_eq!(producer.commit_raw(97), full);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn commit_raw(&mut self, len: usize) -> Result<(), ReserveError> {
        self.try_reserve(len)?.commit_all();
        Ok(())
    }

    /// Waits until there is room for `len` bytes, within the handle's
    /// [timeout](Self::set_timeout). A write of `len` bytes then does not wait.
    /// Bytes held back in a batch are published.
    ///
    /// The room need not be in one piece: in [the caller's
    /// memory](crate::Options::create_in), a grant ends at the ring's end. With a
    /// `len` of 0, this call only checks whether there is a consumer to write for.
    ///
    /// # Errors
    ///
    /// [`ReserveError::TimedOut`] returns how much room there is.
    /// [`ReserveError::TooLong`] if `len` is more than the capacity.
    /// [`ReserveError::Broken`] if the consumer has left or died, or the handle is
    /// unusable.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::Read;
    ///
    /// let (mut producer, mut consumer) = shmpipe::Options::new().capacity(4096).create_anonymous()?.split()?;
    /// producer.try_write(&[7; 4096]).unwrap();
    /// let reader = std::thread::spawn(move || {
    ///     consumer.read_exact(&mut [0; 4096]).map(|()| consumer)
    /// });
    /// producer.wait_writable(4096)?; // until all of them have been read
    /// assert_eq!(producer.room()?, 4096);
    /// # reader.join().unwrap()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn wait_writable(&mut self, len: usize) -> Result<(), ReserveError> {
        self.wait_until_writable(len, len as u64, self.deadline())
    }

    /// Waits until there is room for `len` bytes, or until `deadline`. Succeeds
    /// after the deadline if there is enough room.
    ///
    /// # Errors
    ///
    /// The errors of [`wait_writable`](Self::wait_writable). The handle's timeout
    /// does not apply.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use shmpipe::ReserveError;
    ///
    /// let (mut producer, _consumer) = shmpipe::Options::new().capacity(4096).create_anonymous()?.split()?;
    /// producer.try_write(&[7; 4000]).unwrap();
    /// let soon = Instant::now() + Duration::from_millis(20);
    /// assert_eq!(producer.wait_writable_deadline(96, soon), Ok(()));
    /// let timed_out = Err(ReserveError::TimedOut { wanted: 97, room: 96 });
    /// assert_eq!(producer.wait_writable_deadline(97, soon), timed_out);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn wait_writable_deadline(
        &mut self,
        len: usize,
        deadline: Instant,
    ) -> Result<(), ReserveError> {
        self.wait_until_writable(len, len as u64, Some(deadline))
    }

    /// Reserves `len` bytes of room, in one piece, and waits for the room until
    /// `deadline`. After the deadline, available room is still granted.
    ///
    /// # Errors
    ///
    /// The errors of [`reserve`](Self::reserve). The handle's timeout does not
    /// apply.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use shmpipe::ReserveError;
    ///
    /// let (mut producer, _consumer) = shmpipe::Options::new().capacity(4096).create_anonymous()?.split()?;
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
        Ok(WriteGrant::new(self, len))
    }

    #[inline(never)]
    fn reserve_slow(&mut self, len: usize) -> Result<(), ReserveError> {
        self.wait_to_reserve(len, self.deadline())
    }

    #[inline(never)]
    fn reserve_some_slow(&mut self, most: usize) -> Result<usize, ReserveError> {
        self.wait_to_reserve_some(most, self.deadline())
    }

    /// Looks once for `len` bytes of room in one piece.
    #[inline(never)]
    fn look_for_room(&mut self, len: usize) -> Result<(), ReserveError> {
        let room = self.room_for(len)?;
        if room < len {
            return Err(self.full(len, room));
        }
        self.found_without_wait();
        self.check_piece(len)
    }

    /// Looks once for room of at most `most` bytes in one piece, and returns its
    /// length.
    #[inline(never)]
    fn look_for_some_room(&mut self, most: usize) -> Result<usize, ReserveError> {
        let room = self.room_for(most.min(self.capacity()))?;
        if room == 0 && most > 0 {
            return Err(self.full(1, room));
        }
        self.found_without_wait();
        Ok(room.min(most).min(self.contiguous_room()))
    }

    /// Waits for `len` bytes of room in one piece.
    fn wait_to_reserve(
        &mut self,
        len: usize,
        deadline: Option<Instant>,
    ) -> Result<(), ReserveError> {
        self.wait_until_writable(len, len as u64, deadline)?;
        self.check_piece(len)
    }

    /// Waits for room of at most `most` bytes in one piece, and returns its length.
    fn wait_to_reserve_some(
        &mut self,
        most: usize,
        deadline: Option<Instant>,
    ) -> Result<usize, ReserveError> {
        let quarter = self.quarter();
        self.wait_until_writable(most.min(1), quarter, deadline)?;
        let room = self.known_room(most.min(self.capacity()))?;
        Ok(room.min(most).min(self.contiguous_room()))
    }

    /// Waits for room for `len` bytes. The consumer should wake this side once
    /// there are `worth_a_wake` bytes.
    fn wait_until_writable(
        &mut self,
        len: usize,
        worth_a_wake: u64,
        deadline: Option<Instant>,
    ) -> Result<(), ReserveError> {
        if self.room_for(len)? >= len {
            self.found_without_wait();
            return Ok(());
        }
        match self.wait_for_room(len as u64, worth_a_wake, deadline) {
            Ok(()) => Ok(()),
            Err(Blocked::TimedOut) => match self.room_for(len)? {
                // The room came at the last moment.
                room if room >= len => Ok(()),
                room => Err(ReserveError::TimedOut { wanted: len, room }),
            },
            Err(Blocked::Cancelled) => Err(ReserveError::Cancelled),
            Err(Blocked::Broken(broken)) => Err(broken.into()),
        }
    }

    /// Fails if `len` bytes of available room are not in one piece.
    fn check_piece(&self, len: usize) -> Result<(), ReserveError> {
        let contiguous = self.contiguous_room();
        if contiguous < len {
            return Err(ReserveError::Wraps {
                wanted: len,
                contiguous,
            });
        }
        Ok(())
    }

    /// Bytes from the tail to the end of the run of addresses, whether room or not.
    fn contiguous_room(&self) -> usize {
        let writer = self.writer();
        writer.region().contiguous(writer.tail())
    }

    /// The available room. Fails if `len` is more than the capacity. If the room is
    /// less than `len`, publishes what a batch holds back. The consumer has to make
    /// room first, so it must see all bytes.
    pub(crate) fn room_for(&mut self, len: usize) -> Result<usize, ReserveError> {
        self.check_usable()?;
        if len > self.capacity() {
            return Err(ReserveError::TooLong {
                wanted: len,
                capacity: self.capacity(),
            });
        }
        let room = self.known_room(len)?;
        if room < len {
            self.publish();
        }
        Ok(room)
    }
}
