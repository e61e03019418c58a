//! rtrb: its calls for slices, polled, since it has no wait.

use std::io;

use crate::channel::{Channel, Receiver, Sender, Spec, Threads};

pub(crate) struct Ring(rtrb::Producer<u8>, rtrb::Consumer<u8>);

impl Channel for Ring {
    type Sender = rtrb::Producer<u8>;
    type Receiver = rtrb::Consumer<u8>;

    fn open(spec: &Spec) -> io::Result<Ring> {
        let (producer, consumer) = rtrb::RingBuffer::new(spec.capacity);
        Ok(Ring(producer, consumer))
    }

    fn sender(self) -> io::Result<rtrb::Producer<u8>> {
        Ok(self.0)
    }

    fn receiver(self) -> io::Result<rtrb::Consumer<u8>> {
        Ok(self.1)
    }
}

impl Threads for Ring {
    fn split(self) -> (rtrb::Producer<u8>, rtrb::Consumer<u8>) {
        (self.0, self.1)
    }
}

impl Sender for rtrb::Producer<u8> {
    #[inline(always)]
    fn send(&mut self, mut block: &[u8]) {
        loop {
            (_, block) = self.push_partial_slice(block);
            if block.is_empty() {
                break;
            }
            std::hint::spin_loop();
        }
    }
}

impl Receiver for rtrb::Consumer<u8> {
    #[inline(always)]
    fn receive(&mut self, mut block: &mut [u8]) {
        loop {
            (_, block) = self.pop_partial_slice(block);
            if block.is_empty() {
                break;
            }
            std::hint::spin_loop();
        }
    }
}
