//! Queues of C++: those that hold their elements themselves, between processes in shared
//! memory, and one that holds them in the heap, between threads. All are polled.
#![allow(unsafe_code)] // calls of C++

use std::ffi::c_void;
use std::io;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::AtomicU8;

use super::{ANY, Contender};
use crate::channel::{Channel, Receiver, Sender, Spec, Threads};
use crate::figures::Kind;
use crate::run::{Run, processes, threads};
use crate::sys::{Shared, Zeroed};

/// What `cpp/queues.cpp` has for each queue.
#[repr(C)]
pub(crate) struct Operations {
    size: usize,
    make: unsafe extern "C" fn(*mut c_void),
    push: unsafe extern "C" fn(*mut c_void, *const u8, usize),
    pop: unsafe extern "C" fn(*mut c_void, *mut u8, usize),
}

// SAFETY: the functions of `cpp/queues.cpp` have these types. They look at a number.
unsafe extern "C" {
    safe fn peers_boost(block: usize) -> Option<&'static Operations>;
    safe fn peers_atomic_queue(block: usize) -> Option<&'static Operations>;
    safe fn peers_reader_writer_queue(block: usize) -> Option<&'static Operations>;
}

/// One of the queues.
pub(crate) trait Kept {
    /// Its operations for blocks of one size.
    fn operations(block: usize) -> Option<&'static Operations>;
}

pub(crate) struct Boost;
pub(crate) struct AtomicQueue;
pub(crate) struct ReaderWriterQueue;

impl Kept for Boost {
    fn operations(block: usize) -> Option<&'static Operations> {
        peers_boost(block)
    }
}

impl Kept for AtomicQueue {
    fn operations(block: usize) -> Option<&'static Operations> {
        peers_atomic_queue(block)
    }
}

impl Kept for ReaderWriterQueue {
    fn operations(block: usize) -> Option<&'static Operations> {
        peers_reader_writer_queue(block)
    }
}

/// Every queue.
pub(super) fn all() -> [Contender; 3] {
    let entry = |name, kind, run| Contender {
        name,
        kind,
        run,
        most: ANY,
    };
    [
        entry(
            "boost spsc_queue, C++",
            Kind::Crate,
            processes::<Queue<Boost>> as Run,
        ),
        entry(
            "atomic_queue, C++",
            Kind::Crate,
            processes::<Queue<AtomicQueue>>,
        ),
        entry(
            "ReaderWriterQueue, C++",
            Kind::Threads,
            threads::<Queue<ReaderWriterQueue>>,
        ),
    ]
}

/// Room for the largest of the queues: 4 MiB of payload, and a byte for each 8 bytes of it.
const ROOM: usize = 5 << 20;

#[repr(C, align(4096))]
struct Place([AtomicU8; ROOM]);

// SAFETY: atomic integers through and through.
unsafe impl Zeroed for Place {}

/// A queue in memory that is shared with forked processes.
pub(crate) struct Queue<K> {
    end: End,
    which: PhantomData<K>,
}

/// An end of it.
#[derive(Clone)]
pub(crate) struct End {
    place: Arc<Shared<Place>>,
    operations: &'static Operations,
}

impl End {
    fn queue(&self) -> *mut c_void {
        self.place.0.as_ptr().cast_mut().cast()
    }
}

impl<K: Kept> Channel for Queue<K> {
    type Sender = End;
    type Receiver = End;

    fn open(spec: &Spec) -> io::Result<Queue<K>> {
        let operations = K::operations(spec.block);
        let operations = operations.ok_or_else(|| io::Error::other("no blocks of this size"))?;
        assert!(operations.size <= ROOM, "{} bytes", operations.size);
        let place = Arc::new(Shared::new());
        let end = End { place, operations };
        // SAFETY: the place has room for the queue, begins with a page, and holds nothing
        // yet. It is never freed before its ends. The queue's own destructor never runs.
        unsafe { (operations.make)(end.queue()) };
        Ok(Queue {
            end,
            which: PhantomData,
        })
    }

    fn sender(self) -> io::Result<End> {
        Ok(self.end)
    }

    fn receiver(self) -> io::Result<End> {
        Ok(self.end)
    }
}

impl<K: Kept> Threads for Queue<K> {
    fn split(self) -> (End, End) {
        (self.end.clone(), self.end)
    }
}

impl Sender for End {
    #[inline(always)]
    fn send(&mut self, block: &[u8]) {
        // SAFETY: the queue is made, and this is its only producer. The block has that many
        // bytes, for which the queue was made.
        unsafe { (self.operations.push)(self.queue(), block.as_ptr(), block.len()) };
    }
}

impl Receiver for End {
    #[inline(always)]
    fn receive(&mut self, block: &mut [u8]) {
        // SAFETY: the queue is made, and this is its only consumer. The block has that many
        // bytes, for which the queue was made.
        unsafe { (self.operations.pop)(self.queue(), block.as_mut_ptr(), block.len()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::Wait;

    /// More than one lap, in one thread.
    fn passes_blocks<K: Kept>() {
        for block in [8, 64, 256, 1 << 10, 4 << 10, 64 << 10, 1 << 20] {
            let spec = Spec {
                capacity: 4 << 20,
                block,
                wait: Wait::Default,
                channels: 1,
            };
            let (mut sender, mut receiver) = Queue::<K>::open(&spec).unwrap().split();
            let rounds = 9 << 20 >> block.ilog2();
            let mut received = vec![0; block];
            for round in 0..rounds.min(20_000) {
                let sent = vec![round as u8; block];
                sender.send(&sent);
                receiver.receive(&mut received);
                assert!(received == sent, "round {round} of {block} bytes");
            }
        }
    }

    #[test]
    fn each_queue_passes_blocks_of_every_size() {
        // The blocks of atomic_queue pass over the stack.
        let thread = std::thread::Builder::new().stack_size(16 << 20);
        let all = || {
            passes_blocks::<Boost>();
            passes_blocks::<AtomicQueue>();
            passes_blocks::<ReaderWriterQueue>();
        };
        thread.spawn(all).unwrap().join().unwrap();
    }

    #[test]
    fn a_size_that_was_not_compiled_is_refused() {
        assert!(AtomicQueue::operations(24).is_none());
        assert!(ReaderWriterQueue::operations(24).is_none());
    }
}
