//! The writing end of a ring.

mod leave;
mod room;
mod settings;
mod transfer;
mod write;

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use crossbeam_utils::CachePadded;

use crate::error::{Broken, OpenError};
use crate::handle::config::HandleConfig;
use crate::handle::endpoint::Endpoint;
use crate::peer::Claim;
use crate::ring::{Departures, Writer};
use crate::segment::closed::Departure;
use crate::segment::mapping::Mapping;
use crate::segment::region::mapped::MappedRegion;

/// The end of a ring that bytes are written to.
///
/// [`Write`](std::io::Write) blocks while the ring is full;
/// [`try_write`](Self::try_write) never does. Each write is published at once, and
/// a long write in pieces. So [`flush`](std::io::Write::flush) has nothing to do,
/// unless a [batch](Self::set_batch) holds bytes back. A producer that sleeps in a
/// full ring is woken when a quarter of the ring is free. If less is free, the
/// producer finds that room within about ten milliseconds.
///
/// Dropping the producer finishes the stream, as [`close`](Self::close) does. A
/// drop while panicking, or under
/// [`Options::abort_on_drop`](crate::Options::abort_on_drop), breaks the stream
/// off, as [`abort`](Self::abort) does. A process that ends in any other way has
/// died: the consumer reads all published bytes, then gets an error.
///
/// A producer can be sent to another thread, but not shared. After a fork, the
/// producer belongs to the process that forked. The child's copy is inert.
///
/// # Examples
///
/// ```
/// use std::io::{Read, Write};
///
/// let (mut producer, mut consumer) = shmpipe::pair()?;
/// producer.write_all(b"bytes")?;
/// producer.close()?;
///
/// let mut received = Vec::new();
/// consumer.read_to_end(&mut received)?;
/// assert_eq!(received, b"bytes");
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// `Producer` is not [`Sync`]:
///
/// ```compile_fail
/// fn shared<T: Sync>(_: T) {}
/// shared(shmpipe::pair().unwrap().0);
/// ```
pub struct Producer {
    /// On its own cache lines, since the handle of another thread may be adjacent.
    writer: CachePadded<Writer<MappedRegion>>,
    end: Endpoint,
    /// Bytes to hold back before publishing them together.
    batch: usize,
    /// Not `Sync`: a handle is used by one thread at a time.
    _not_sync: PhantomData<Cell<()>>,
}

impl Producer {
    pub(crate) fn new(
        mapping: Mapping,
        claim: Claim,
        config: &HandleConfig,
    ) -> Result<Producer, OpenError> {
        Producer::with(mapping, claim, config, true)
    }

    pub(crate) fn with(
        mapping: Mapping,
        claim: Claim,
        config: &HandleConfig,
        id_shared: bool,
    ) -> Result<Producer, OpenError> {
        let kind = mapping.geometry().kind;
        let departures = if config.needs_consumer(kind) {
            Departures::End
        } else {
            Departures::Pass
        };
        let mut end = Endpoint::new(mapping.clone(), claim, config, id_shared);
        match Writer::new(MappedRegion::new(mapping), kind.persists(), departures) {
            Ok(writer) => Ok(Producer {
                writer: CachePadded::new(writer),
                end,
                batch: config.batch,
                _not_sync: PhantomData,
            }),
            Err(corruption) => {
                end.leave(Departure::Aborted, || ());
                Err(corruption.into())
            }
        }
    }

    pub(crate) fn expect_child(&mut self, pid: u32) {
        self.end.expect_child(pid);
    }

    /// The deadline of a blocking call that starts now.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.end.deadline()
    }

    pub(crate) fn end(&mut self) -> &mut Endpoint {
        &mut self.end
    }

    pub(crate) fn cancel_flag(&self) -> Option<&Arc<AtomicBool>> {
        self.end.cancel_flag()
    }

    pub(crate) fn is_usable(&self) -> bool {
        self.end.is_usable()
    }

    pub(crate) fn writer(&self) -> &Writer<MappedRegion> {
        &self.writer
    }

    /// Fails if this process cannot use the handle, or there is no consumer to write
    /// for.
    pub(crate) fn check_usable(&mut self) -> Result<(), Broken> {
        self.end.usable()?;
        self.check_consumer()
    }

    /// Fails if there is no consumer to write for.
    #[inline]
    pub(crate) fn check_consumer(&mut self) -> Result<(), Broken> {
        match self.writer.is_left_alone() {
            Ok(false) => Ok(()),
            Ok(true) => Err(Broken::ConsumerClosed),
            Err(corruption) => Err(self.end.latch(corruption.into())),
        }
    }

    /// Publishes what was written, and wakes a consumer that waits for these bytes.
    #[inline]
    pub(crate) fn publish(&mut self) {
        if self.writer.pending() > 0 {
            self.writer.publish();
            let (peer, tail) = (self.writer.peer_signals(), self.writer.tail());
            self.end.wake(peer, tail);
        }
    }
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer")
            .field("id", &self.end.mapping().id())
            .field("capacity", &self.capacity())
            .field("position", &self.position())
            .finish_non_exhaustive()
    }
}
