//! How much room the ring has, and waiting for more.

use std::time::Instant;

use super::Producer;
use crate::error::{Broken, ReserveError};
use crate::handle::endpoint::{Blocked, Endpoint, Need};
use crate::segment::position;
use crate::segment::region::Region;
use crate::tuning::IDLE_LOOKS;
use crate::wait::coalesce;

impl Producer {
    /// Returns how many bytes can be written without waiting. This is a lower
    /// bound: room stays until this handle uses it, and more may come at any time.
    ///
    /// Publishes nothing. Room that a [batch](Self::set_batch) occupies comes back
    /// only once the batch was published and read: call
    /// [`flush`](std::io::Write::flush) before polling for more.
    ///
    /// # Errors
    ///
    /// What makes the handle unusable.
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut producer, _consumer) = shmpipe::pair()?;
    /// producer.try_write(b"abc").unwrap();
    /// assert_eq!(producer.room()?, producer.capacity() - 3);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "slots")]
    pub fn room(&mut self) -> Result<usize, Broken> {
        self.known_room(self.capacity())
    }

    /// The known room in bytes. Loads the consumer's position if that room is less
    /// than `wanted`.
    pub(crate) fn known_room(&mut self, wanted: usize) -> Result<usize, Broken> {
        self.end.usable()?;
        match self.writer.room(wanted as u64) {
            Ok(room) => Ok(room as usize), // at most the capacity
            Err(corruption) => Err(self.end.latch(corruption.into())),
        }
    }

    /// The error of a call that wants more room than there is. If a wait for several handles has
    /// found the consumer dead, the error says so.
    pub(crate) fn full(&mut self, wanted: usize, room: usize) -> ReserveError {
        match self.end.take_verdict() {
            Some(broken) => broken.into(),
            None => ReserveError::Full { wanted, room },
        }
    }

    /// Whether a call that never waits would return anything but the error for less room than
    /// `least`. If not, publishes what a batch holds back, whose room comes back only once it is
    /// read.
    pub(crate) fn is_ready(&mut self, least: usize) -> bool {
        if self.check_usable().is_err() {
            return true;
        }
        match self.known_room(least) {
            Ok(room) if room >= least => true,
            Ok(_) => {
                self.publish();
                self.end.has_verdict()
            }
            Err(_) => true,
        }
    }

    /// A quarter of the capacity: room that is worth a wake.
    pub(crate) fn quarter(&self) -> u64 {
        self.writer.region().capacity() as u64 / 4
    }

    /// Waits for at least one byte of room. The consumer wakes a sleeping producer
    /// when a quarter of the ring is free. If less is free, the producer finds that
    /// room at the end of a slice.
    pub(crate) fn wait_for_some_room(&mut self, deadline: Option<Instant>) -> Result<(), Blocked> {
        self.wait_for_room(1, self.quarter(), deadline)
    }

    /// Waits for `least` bytes of room. The consumer should wake this side once
    /// there are `worth_a_wake` bytes.
    pub(crate) fn wait_for_room(
        &mut self,
        least: u64,
        worth_a_wake: u64,
        deadline: Option<Instant>,
    ) -> Result<(), Blocked> {
        // A writer that follows directly behind the reader takes cache lines that
        // the reader has only just released. Watching the reader's position slows
        // the reader down, too. So while the reader makes progress, the spin waits
        // for half of the ring.
        let capacity = self.writer.region().capacity() as u64;
        let pause = coalesce::full_ring_pause(capacity);
        let plenty = least.max(capacity / 2);
        let (end, wanted, mut room) = self.wait_for_room_parts(worth_a_wake);
        let (mut before, mut idle) = (0, 0);
        end.wait_for_plenty(wanted, pause, deadline, |need| {
            let room = room()?;
            idle = if room == before { idle + 1 } else { 0 };
            before = room;
            let enough = match need {
                Need::Plenty if idle < IDLE_LOOKS => plenty,
                Need::Least | Need::Plenty => least,
            };
            Ok((room >= enough).then_some(()))
        })
    }

    /// Publishes bytes held back, and returns the parts of
    /// [`wait_for_room`](Self::wait_for_room). These are the endpoint, the head that
    /// is worth a wake, and a function for the available room.
    pub(crate) fn wait_for_room_parts(
        &mut self,
        worth_a_wake: u64,
    ) -> (&mut Endpoint, u64, impl FnMut() -> Result<u64, Blocked>) {
        self.publish();
        // The head at which `worth_a_wake` bytes are free.
        let capacity = self.writer.region().capacity();
        let all_free = position::before(self.writer.tail(), capacity);
        let wanted = all_free.wrapping_add(worth_a_wake);
        let writer = &mut self.writer;
        let room = move || {
            if writer.is_left_alone()? {
                return Err(Broken::ConsumerClosed.into());
            }
            Ok(writer.room(u64::MAX)?)
        };
        (&mut self.end, wanted, room)
    }
}
