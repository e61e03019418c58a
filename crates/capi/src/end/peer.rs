//! Leaving, the peer, and the state of an end.

use std::time::Instant;

use ring::{Handover, Occupant};

use super::{End, Handle, after};
use crate::failure::Failure;
use crate::options::Timeout;

/// `shmpipe_occupant`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(crate) struct RawPeer {
    pub(crate) state: u32,
    pub(crate) pid: u32,
}

/// `shmpipe_stats`. A field may be added at the end only.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(crate) struct RawStats {
    pub(crate) size: usize,
    pub(crate) capacity: u64,
    pub(crate) position: u64,
    pub(crate) stream_position: u64,
    pub(crate) stream_number: u64,
    /// Bytes that can be read, or room. 0 if the handle cannot be used.
    pub(crate) available: u64,
    pub(crate) waits: u64,
    pub(crate) sleeps: u64,
    pub(crate) wakes: u64,
    pub(crate) nonce: u64,
    /// -1 if the ring has no segment.
    pub(crate) id: i32,
    pub(crate) role: u32,
    pub(crate) is_closed: u32,
    pub(crate) is_at_end: u32,
}

impl End {
    pub(crate) fn close(&mut self, timeout: Timeout) -> Result<(), Failure> {
        self.lent = 0;
        match (self.handle()?, timeout) {
            (Handle::Consumer(consumer), _) => Ok(consumer.close()?),
            (Handle::Producer(producer), Timeout::Forever) => Ok(producer.close()?),
            (Handle::Producer(producer), Timeout::Try) => {
                Ok(producer.close_deadline(Instant::now())?)
            }
            (Handle::Producer(producer), Timeout::For(limit)) => {
                Ok(producer.close_deadline(after(limit))?)
            }
        }
    }

    pub(crate) fn abort(&mut self) -> Result<(), Failure> {
        self.lent = 0;
        either!(self, handle => handle.abort());
        Ok(())
    }

    pub(crate) fn wait_for_peer(&mut self, timeout: Timeout) -> Result<(), Failure> {
        either!(self, handle => match timeout {
            Timeout::Forever => handle.wait_for_peer()?,
            Timeout::Try => handle.wait_for_peer_deadline(Instant::now())?,
            Timeout::For(limit) => handle.wait_for_peer_deadline(after(limit))?,
        });
        Ok(())
    }

    pub(crate) fn next_stream(&mut self) -> Result<bool, Failure> {
        self.lent = 0;
        Ok(self.consumer()?.next_stream()?)
    }

    /// Asks the kernel whether the peer lives, and says who holds the other end.
    pub(crate) fn peer(&mut self) -> Result<RawPeer, Failure> {
        let (state, pid) = match either!(self, handle => handle.peer()) {
            Occupant::Nobody => (0, 0),
            Occupant::Process(pid) => (1, pid),
            Occupant::Dead(pid) => (2, pid),
            Occupant::Left => (3, 0),
            _ => (4, 0),
        };
        Ok(RawPeer { state, pid })
    }

    pub(crate) fn check_peer(&mut self) -> Result<(), Failure> {
        Ok(either!(self, handle => handle.check_peer())?)
    }

    pub(crate) fn id(&mut self) -> Result<i32, Failure> {
        let id = either!(self, handle => handle.id());
        let none = || Failure::invalid("the ring has no segment, and so no id");
        Ok(id.ok_or_else(none)?.raw())
    }

    pub(crate) fn stats(&mut self) -> Result<RawStats, Failure> {
        let available = match self.handle()? {
            Handle::Producer(producer) => producer.room().unwrap_or(0),
            Handle::Consumer(consumer) => consumer.available().unwrap_or(0),
        };
        let (role, is_at_end) = match self.handle()? {
            Handle::Producer(_) => (1, 0),
            Handle::Consumer(consumer) => (2, u32::from(consumer.is_at_end())),
        };
        Ok(either!(self, handle => {
            let stats = handle.stats();
            RawStats {
                size: size_of::<RawStats>(),
                capacity: handle.capacity() as u64,
                position: handle.position(),
                stream_position: handle.stream_position(),
                stream_number: handle.stream_number(),
                available: available as u64,
                waits: stats.waits,
                sleeps: stats.sleeps,
                wakes: stats.wakes,
                nonce: handle.nonce(),
                id: handle.id_for_log().map_or(-1, |id| id.raw()),
                role,
                is_closed: u32::from(handle.is_closed()),
                is_at_end,
            }
        }))
    }

    /// Adds the other end of this ring to those that a child gets.
    pub(crate) fn give<'a>(
        &'a mut self,
        name: &str,
        handover: Handover<'a>,
    ) -> Result<Handover<'a>, Failure> {
        Ok(match self.handle()? {
            Handle::Producer(producer) => handover.give_consumer(name, producer),
            Handle::Consumer(consumer) => handover.give_producer(name, consumer),
        })
    }
}
