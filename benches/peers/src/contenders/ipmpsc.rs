//! ipmpsc: the message is borrowed from its ring, and copied once, into the reader's
//! memory.

use std::io;

use ipmpsc::{Receiver as Rx, Sender as Tx, SharedRingBuffer};
use serde_bytes::Bytes;

use crate::channel::{Channel, Receiver, Sender, Spec, other};
use crate::name::Name;

pub(crate) struct Ring(
    SharedRingBuffer,
    #[expect(dead_code, reason = "goes with it")] Name,
);

impl Channel for Ring {
    type Sender = Tx;
    type Receiver = Rx;

    fn open(spec: &Spec) -> io::Result<Ring> {
        let name = Name::new();
        // Room for a few of the largest messages with their headers.
        let capacity = spec.capacity.max(4 * spec.block) as u32;
        let path = name.path();
        let path = path.to_str().expect("a path of letters");
        Ok(Ring(
            SharedRingBuffer::create(path, capacity).map_err(other)?,
            name,
        ))
    }

    fn sender(self) -> io::Result<Tx> {
        Ok(Tx::new(self.0))
    }

    fn receiver(self) -> io::Result<Rx> {
        Ok(Rx::new(self.0))
    }
}

impl Sender for Tx {
    #[inline(always)]
    fn send(&mut self, block: &[u8]) {
        Tx::send(self, &Bytes::new(block)).unwrap();
    }
}

impl Receiver for Rx {
    #[inline(always)]
    fn receive(&mut self, block: &mut [u8]) {
        let mut context = self.zero_copy_context();
        let message: &Bytes = context.recv().unwrap();
        block.copy_from_slice(message);
    }
}
