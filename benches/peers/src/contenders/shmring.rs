//! shmring, in POSIX shared memory. Its blocking calls sleep for at least 50 us between two
//! looks. So its calls that do not block are polled.

use std::io;

use shmring::Options;
use shmring::backend::ShmStorage;

use crate::channel::{Channel, Receiver, Sender, Spec, other};
use crate::name::Name;

type Tx = shmring::Writer<ShmStorage>;
type Rx = shmring::Reader<ShmStorage>;

pub(crate) struct Ring {
    tx: Tx,
    name: Name,
    capacity: u64,
}

impl Channel for Ring {
    type Sender = Tx;
    type Receiver = Rx;

    fn open(spec: &Spec) -> io::Result<Ring> {
        let name = Name::new();
        let capacity = spec.capacity as u64;
        let tx = shmring::create_shm(name.as_str(), capacity, Options::default()).map_err(other)?;
        Ok(Ring { tx, name, capacity })
    }

    fn sender(self) -> io::Result<Tx> {
        Ok(self.tx)
    }

    fn receiver(self) -> io::Result<Rx> {
        // The copy in this process must not remove what the sender has made.
        std::mem::forget(self.tx);
        shmring::open_shm(self.name.as_str(), self.capacity, Options::default()).map_err(other)
    }
}

impl Sender for Tx {
    #[inline(always)]
    fn send(&mut self, mut block: &[u8]) {
        while !block.is_empty() {
            match self.try_write(block) {
                Ok(0) => std::hint::spin_loop(),
                Ok(len) => block = &block[len..],
                Err(error) => panic!("{error}"),
            }
        }
    }
}

impl Receiver for Rx {
    #[inline(always)]
    fn receive(&mut self, block: &mut [u8]) {
        let mut at = 0;
        while at < block.len() {
            match self.try_read(&mut block[at..]) {
                Ok(0) => std::hint::spin_loop(),
                Ok(len) => at += len,
                Err(error) => panic!("{error}"),
            }
        }
    }
}
