//! ipc_ring: its calls that do not wait, polled. Each of them makes a system call.

use std::io;

use ipc_ring::{IpcError, RingReader, RingWriter};

use crate::channel::{Channel, Receiver, Sender, Spec, other, spin};
use crate::name::Name;

pub(crate) struct Ring(RingWriter, Name, usize);

pub(crate) struct Reading(RingReader, Vec<u8>);

impl Channel for Ring {
    type Sender = RingWriter;
    type Receiver = Reading;

    fn open(spec: &Spec) -> io::Result<Ring> {
        let name = Name::new();
        // Twice the largest message, since a message is never split.
        let capacity = spec.capacity.max(2 * spec.block.next_power_of_two());
        let writer = RingWriter::create(name.path(), capacity).map_err(other)?;
        Ok(Ring(writer, name, spec.block))
    }

    fn sender(self) -> io::Result<RingWriter> {
        Ok(self.0)
    }

    fn receiver(self) -> io::Result<Reading> {
        let reader = RingReader::open(self.1.path()).map_err(other)?;
        Ok(Reading(reader, Vec::with_capacity(self.2)))
    }
}

impl Sender for RingWriter {
    #[inline(always)]
    fn send(&mut self, block: &[u8]) {
        spin(|| match self.try_push(block) {
            Ok(()) => Some(()),
            Err(IpcError::Full) => None,
            Err(error) => panic!("{error}"),
        });
    }
}

impl Receiver for Reading {
    #[inline(always)]
    fn receive(&mut self, block: &mut [u8]) {
        spin(|| self.0.try_pop(&mut self.1).unwrap());
        block.copy_from_slice(&self.1);
    }
}
