//! How much room there is, and waiting for more.

use std::time::Instant;

use super::Producer;
use crate::error::Broken;
use crate::handle::endpoint::{Blocked, Endpoint, Need};
use crate::segment::region::Region;
use crate::tuning::IDLE_LOOKS;
use crate::wait::pace;

impl Producer {
    /// Bytes there is room for: at least so many can be written without
    /// waiting, however late. 0 may be out of date at once.
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

    /// The room that is known of; looks at the consumer's position if that is less
    /// than `wanted`.
    pub(crate) fn known_room(&mut self, wanted: usize) -> Result<usize, Broken> {
        self.end.usable()?;
        match self.writer.room(wanted as u64) {
            Ok(room) => Ok(room as usize), // at most the capacity
            Err(corruption) => Err(self.end.latch(corruption.into())),
        }
    }

    /// A quarter of the ring: room that is worth a wake.
    pub(crate) fn quarter(&self) -> u64 {
        self.writer.region().capacity() / 4
    }

    /// Waits for some room. The consumer wakes a sleeping producer once a
    /// quarter of the ring is free; less is found at the end of a slice.
    pub(crate) fn wait_for_some_room(&mut self, deadline: Option<Instant>) -> Result<(), Blocked> {
        self.wait_for_room(1, self.quarter(), deadline)
    }

    /// Waits for `least` bytes of room; `worth_a_wake` is how many the consumer
    /// had better have made before it wakes us.
    pub(crate) fn wait_for_room(
        &mut self,
        least: u64,
        worth_a_wake: u64,
        deadline: Option<Instant>,
    ) -> Result<(), Blocked> {
        // A reader that is a ring behind has more to do than to be watched.
        // A writer that follows right behind it takes lines that it has hardly let
        // go. So while the reader goes on, half of the ring is waited for.
        let capacity = self.writer.region().capacity();
        let rest = pace::until_room(capacity);
        let plenty = least.max(capacity / 2);
        let (end, wanted, mut room) = self.wait_for_room_parts(worth_a_wake);
        let (mut before, mut idle) = (0, 0);
        end.wait_for_plenty(wanted, rest, deadline, |need| {
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

    /// What it takes to wait for that, all that was held back being published:
    /// who waits, the head that is worth a wake, and what tells how much room there
    /// is.
    pub(crate) fn wait_for_room_parts(
        &mut self,
        worth_a_wake: u64,
    ) -> (&mut Endpoint, u64, impl FnMut() -> Result<u64, Blocked>) {
        self.publish();
        // The head at which that much is free.
        let capacity = self.writer.region().capacity();
        let all_free = self.writer.tail().wrapping_sub(capacity);
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
