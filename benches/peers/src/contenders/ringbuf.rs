//! ringbuf: its calls for slices, polled, since it has no wait. In place, its memory and
//! its indices.
#![allow(unsafe_code)] // memory that is not initialised, indices without a check

use std::io;

use ringbuf::traits::{Consumer, Producer, Raw, Split};
use ringbuf::{HeapCons, HeapProd, HeapRb};

use super::in_place::initialised;
use crate::channel::{Channel, Receiver, ReceiverInPlace, Sender, SenderInPlace, Spec, Threads};

pub(crate) struct Ring(HeapProd<u8>, HeapCons<u8>);

impl Channel for Ring {
    type Sender = HeapProd<u8>;
    type Receiver = HeapCons<u8>;

    fn open(spec: &Spec) -> io::Result<Ring> {
        let (mut producer, mut consumer) = HeapRb::new(spec.capacity).split();
        // One lap, which initialises the memory.
        producer.push_iter(std::iter::repeat_n(0, spec.capacity));
        consumer.clear();
        Ok(Ring(producer, consumer))
    }

    fn sender(self) -> io::Result<HeapProd<u8>> {
        Ok(self.0)
    }

    fn receiver(self) -> io::Result<HeapCons<u8>> {
        Ok(self.1)
    }
}

impl Threads for Ring {
    fn split(self) -> (HeapProd<u8>, HeapCons<u8>) {
        (self.0, self.1)
    }
}

impl Sender for HeapProd<u8> {
    #[inline(always)]
    fn send(&mut self, mut block: &[u8]) {
        loop {
            block = &block[self.push_slice(block)..];
            if block.is_empty() {
                break;
            }
            std::hint::spin_loop();
        }
    }
}

impl Receiver for HeapCons<u8> {
    #[inline(always)]
    fn receive(&mut self, block: &mut [u8]) {
        let mut len = 0;
        loop {
            len += self.pop_slice(&mut block[len..]);
            if len == block.len() {
                break;
            }
            std::hint::spin_loop();
        }
    }
}

impl SenderInPlace for HeapProd<u8> {
    #[inline(always)]
    fn send_in_place(&mut self, len: usize, mut make: impl FnMut(&mut [u8])) {
        loop {
            let (first, second) = self.vacant_slices_mut();
            if first.len() + second.len() >= len {
                let whole = first.len().min(len);
                // SAFETY: `open` has initialised all of the ring.
                make(unsafe { initialised(&mut first[..whole]) });
                if whole < len {
                    // SAFETY: `open` has initialised all of the ring.
                    make(unsafe { initialised(&mut second[..len - whole]) });
                }
                // SAFETY: that many bytes are vacant, and initialised.
                unsafe { self.advance_write_index(len) };
                return;
            }
            std::hint::spin_loop();
        }
    }
}

impl ReceiverInPlace for HeapCons<u8> {
    #[inline(always)]
    fn receive_in_place(&mut self, len: usize, mut check: impl FnMut(&[u8])) {
        loop {
            let (first, second) = self.as_slices();
            if first.len() + second.len() >= len {
                let whole = first.len().min(len);
                check(&first[..whole]);
                if whole < len {
                    check(&second[..len - whole]);
                }
                // SAFETY: that many bytes are occupied.
                unsafe { self.advance_read_index(len) };
                return;
            }
            std::hint::spin_loop();
        }
    }
}
