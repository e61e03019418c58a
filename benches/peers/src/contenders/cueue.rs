//! cueue: chunks in a memfd, polled, since it has no wait.

use std::io;

use crate::channel::{
    Channel, Receiver, ReceiverInPlace, Sender, SenderInPlace, Spec, Threads, spin,
};

pub(crate) struct Ring(cueue::Writer<u8>, cueue::Reader<u8>);

impl Channel for Ring {
    type Sender = cueue::Writer<u8>;
    type Receiver = cueue::Reader<u8>;

    fn open(spec: &Spec) -> io::Result<Ring> {
        let (writer, reader) = cueue::cueue(spec.capacity)?;
        Ok(Ring(writer, reader))
    }

    fn sender(self) -> io::Result<Self::Sender> {
        Ok(self.0)
    }

    fn receiver(self) -> io::Result<Self::Receiver> {
        Ok(self.1)
    }
}

impl Threads for Ring {
    fn split(self) -> (cueue::Writer<u8>, cueue::Reader<u8>) {
        (self.0, self.1)
    }
}

impl Sender for cueue::Writer<u8> {
    #[inline(always)]
    fn send(&mut self, mut block: &[u8]) {
        while !block.is_empty() {
            let len = spin(|| {
                let chunk = self.write_chunk();
                let len = chunk.len().min(block.len());
                chunk[..len].copy_from_slice(&block[..len]);
                (len > 0).then_some(len)
            });
            self.commit(len);
            block = &block[len..];
        }
    }
}

impl Receiver for cueue::Reader<u8> {
    #[inline(always)]
    fn receive(&mut self, block: &mut [u8]) {
        let mut at = 0;
        while at < block.len() {
            at += spin(|| {
                let chunk = self.limited_read_chunk((block.len() - at) as u64);
                let len = chunk.len();
                block[at..at + len].copy_from_slice(chunk);
                (len > 0).then_some(len)
            });
            self.commit();
        }
    }
}

impl SenderInPlace for cueue::Writer<u8> {
    #[inline(always)]
    fn send_in_place(&mut self, len: usize, mut make: impl FnMut(&mut [u8])) {
        spin(|| {
            let chunk = self.write_chunk().get_mut(..len)?;
            make(chunk);
            Some(())
        });
        self.commit(len);
    }
}

impl ReceiverInPlace for cueue::Reader<u8> {
    #[inline(always)]
    fn receive_in_place(&mut self, len: usize, mut check: impl FnMut(&[u8])) {
        spin(|| {
            let chunk = self.limited_read_chunk(len as u64);
            (chunk.len() == len).then(|| check(chunk))
        });
        self.commit();
    }
}
