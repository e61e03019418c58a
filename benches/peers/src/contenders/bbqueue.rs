//! bbqueue: grants of a stream, on the heap, polled, since it has no wait.

use std::io;
use std::sync::Arc;

use bbqueue::BBQueue;
use bbqueue::nicknames::Lechon;
use bbqueue::prod_cons::stream::{StreamConsumer, StreamProducer};
use bbqueue::traits::coordination::cas::AtomicCoord;
use bbqueue::traits::notifier::polling::Polling;
use bbqueue::traits::storage::BoxedSlice;

use crate::channel::{
    Channel, Receiver, ReceiverInPlace, Sender, SenderInPlace, Spec, Threads, spin,
};

type Handle = Arc<BBQueue<BoxedSlice, AtomicCoord, Polling>>;

pub(crate) struct Ring(StreamProducer<Handle>, StreamConsumer<Handle>);

impl Channel for Ring {
    type Sender = StreamProducer<Handle>;
    type Receiver = StreamConsumer<Handle>;

    fn open(spec: &Spec) -> io::Result<Ring> {
        let queue = Lechon::<Polling>::new_with_storage(BoxedSlice::new(spec.capacity));
        Ok(Ring(queue.stream_producer(), queue.stream_consumer()))
    }

    fn sender(self) -> io::Result<Self::Sender> {
        Ok(self.0)
    }

    fn receiver(self) -> io::Result<Self::Receiver> {
        Ok(self.1)
    }
}

impl Threads for Ring {
    fn split(self) -> (Self::Sender, Self::Receiver) {
        (self.0, self.1)
    }
}

impl Sender for StreamProducer<Handle> {
    #[inline(always)]
    fn send(&mut self, mut block: &[u8]) {
        while !block.is_empty() {
            let mut grant = spin(|| self.grant_max_remaining(block.len()).ok());
            let len = grant.len();
            grant.copy_from_slice(&block[..len]);
            grant.commit(len);
            block = &block[len..];
        }
    }
}

impl Receiver for StreamConsumer<Handle> {
    #[inline(always)]
    fn receive(&mut self, block: &mut [u8]) {
        let mut at = 0;
        while at < block.len() {
            let grant = spin(|| self.read().ok());
            let len = grant.len().min(block.len() - at);
            block[at..at + len].copy_from_slice(&grant[..len]);
            grant.release(len);
            at += len;
        }
    }
}

impl SenderInPlace for StreamProducer<Handle> {
    #[inline(always)]
    fn send_in_place(&mut self, len: usize, mut make: impl FnMut(&mut [u8])) {
        let mut grant = spin(|| self.grant_exact(len).ok());
        make(&mut grant);
        grant.commit(len);
    }
}

impl ReceiverInPlace for StreamConsumer<Handle> {
    #[inline(always)]
    fn receive_in_place(&mut self, len: usize, mut check: impl FnMut(&[u8])) {
        // A grant has whole blocks, since each was one grant of the producer.
        let grant = spin(|| self.read().ok());
        check(&grant[..len]);
        grant.release(len);
    }
}
