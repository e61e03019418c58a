//! rtrb: its calls for slices, polled, since it has no wait. In place, its chunks.
#![allow(unsafe_code)] // chunks that are not initialised

use std::io;

use super::in_place::initialised;
use crate::channel::{
    Channel, Receiver, ReceiverInPlace, Sender, SenderInPlace, Spec, Threads, other,
};

pub(crate) struct Ring(rtrb::Producer<u8>, rtrb::Consumer<u8>);

impl Channel for Ring {
    type Sender = rtrb::Producer<u8>;
    type Receiver = rtrb::Consumer<u8>;

    fn open(spec: &Spec) -> io::Result<Ring> {
        let (mut producer, mut consumer) = rtrb::RingBuffer::new(spec.capacity);
        // One lap, which initialises the memory.
        let lap = producer.write_chunk(spec.capacity).map_err(other)?;
        lap.commit_all();
        let lap = consumer.read_chunk(spec.capacity).map_err(other)?;
        lap.commit_all();
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

impl SenderInPlace for rtrb::Producer<u8> {
    #[inline(always)]
    fn send_in_place(&mut self, len: usize, mut make: impl FnMut(&mut [u8])) {
        loop {
            if let Ok(mut chunk) = self.write_chunk_uninit(len) {
                let (first, second) = chunk.as_mut_slices();
                // SAFETY: `open` has initialised all of the ring.
                make(unsafe { initialised(first) });
                if !second.is_empty() {
                    // SAFETY: `open` has initialised all of the ring.
                    make(unsafe { initialised(second) });
                }
                // SAFETY: all bytes are initialised.
                unsafe { chunk.commit_all() };
                return;
            }
            std::hint::spin_loop();
        }
    }
}

impl ReceiverInPlace for rtrb::Consumer<u8> {
    #[inline(always)]
    fn receive_in_place(&mut self, len: usize, mut check: impl FnMut(&[u8])) {
        loop {
            if let Ok(chunk) = self.read_chunk(len) {
                let (first, second) = chunk.as_slices();
                check(first);
                if !second.is_empty() {
                    check(second);
                }
                chunk.commit_all();
                return;
            }
            std::hint::spin_loop();
        }
    }
}
