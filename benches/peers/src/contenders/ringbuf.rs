//! ringbuf: its calls for slices, polled, since it has no wait.

use std::io;

use ringbuf::traits::{Consumer, Producer, Split};
use ringbuf::{HeapCons, HeapProd, HeapRb};

use crate::channel::{Channel, Receiver, Sender, Spec, Threads};

pub(crate) struct Ring(HeapProd<u8>, HeapCons<u8>);

impl Channel for Ring {
    type Sender = HeapProd<u8>;
    type Receiver = HeapCons<u8>;

    fn open(spec: &Spec) -> io::Result<Ring> {
        let (producer, consumer) = HeapRb::new(spec.capacity).split();
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
