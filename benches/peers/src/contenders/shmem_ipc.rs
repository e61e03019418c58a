//! shmem-ipc, in a memfd with eventfds. By default it sleeps on those. For the lowest
//! latency it is polled.
#![allow(unsafe_code)] // its memory comes as pointers

use std::fs::File;
use std::io;

use crate::channel::{
    Channel, Receiver, ReceiverInPlace, Sender, SenderInPlace, Spec, Wait, other,
};

type Tx = shmem_ipc::sharedring::Sender<u8>;
type Rx = shmem_ipc::sharedring::Receiver<u8>;

pub(crate) struct Ring {
    tx: Tx,
    capacity: usize,
    files: [File; 3],
    spins: bool,
}

pub(crate) struct End<T> {
    ring: T,
    spins: bool,
}

impl Channel for Ring {
    type Sender = End<Tx>;
    type Receiver = End<Rx>;

    fn open(spec: &Spec) -> io::Result<Ring> {
        let tx = Tx::new(spec.capacity).map_err(other)?;
        let files = [
            tx.memfd().as_file().try_clone()?,
            tx.empty_signal().try_clone()?,
            tx.full_signal().try_clone()?,
        ];
        Ok(Ring {
            tx,
            capacity: spec.capacity,
            files,
            spins: spec.wait == Wait::Spin,
        })
    }

    fn sender(self) -> io::Result<End<Tx>> {
        Ok(End {
            ring: self.tx,
            spins: self.spins,
        })
    }

    fn receiver(self) -> io::Result<End<Rx>> {
        let [memory, empty, full] = self.files;
        let ring = Rx::open(self.capacity, memory, empty, full).map_err(other)?;
        Ok(End {
            ring,
            spins: self.spins,
        })
    }
}

impl Sender for End<Tx> {
    #[inline(always)]
    fn send(&mut self, mut block: &[u8]) {
        while !block.is_empty() {
            let mut len = 0;
            let put = |at: *mut u8, room: usize| {
                len = room.min(block.len());
                // SAFETY: the ring says that it has room for these bytes.
                unsafe { at.copy_from_nonoverlapping(block.as_ptr(), len) };
                len
            };
            if self.spins {
                self.ring.sender_mut().send(put).unwrap();
            } else {
                self.ring.send_raw(put).unwrap();
            }
            block = &block[len..];
            if len == 0 {
                if self.spins {
                    std::hint::spin_loop();
                } else {
                    self.ring.block_until_writable().unwrap();
                }
            }
        }
    }
}

impl Receiver for End<Rx> {
    #[inline(always)]
    fn receive(&mut self, block: &mut [u8]) {
        let mut at = 0;
        while at < block.len() {
            let mut len = 0;
            let target = &mut block[at..];
            let take = |from: *const u8, there: usize| {
                len = there.min(target.len());
                // SAFETY: the ring says that these bytes are there.
                unsafe { from.copy_to_nonoverlapping(target.as_mut_ptr(), len) };
                len
            };
            if self.spins {
                self.ring.receiver_mut().recv(take).unwrap();
            } else {
                self.ring.receive_raw(take).unwrap();
            }
            at += len;
            if len == 0 {
                if self.spins {
                    std::hint::spin_loop();
                } else {
                    self.ring.block_until_readable().unwrap();
                }
            }
        }
    }
}

impl SenderInPlace for End<Tx> {
    #[inline(always)]
    fn send_in_place(&mut self, len: usize, mut make: impl FnMut(&mut [u8])) {
        let mut left = len;
        while left > 0 {
            let mut done = 0;
            let put = |at: *mut u8, room: usize| {
                done = room.min(left);
                // SAFETY: the ring says that it has room for these bytes, and the other side
                // is this program. The memory is the kernel's, so it is initialised.
                make(unsafe { std::slice::from_raw_parts_mut(at, done) });
                done
            };
            self.ring.send_raw(put).unwrap();
            left -= done;
            if done == 0 {
                self.ring.block_until_writable().unwrap();
            }
        }
    }
}

impl ReceiverInPlace for End<Rx> {
    #[inline(always)]
    fn receive_in_place(&mut self, len: usize, mut check: impl FnMut(&[u8])) {
        let mut left = len;
        while left > 0 {
            let mut done = 0;
            let take = |from: *const u8, there: usize| {
                done = there.min(left);
                // SAFETY: the ring says that these bytes are there, and the other side is
                // this program.
                check(unsafe { std::slice::from_raw_parts(from, done) });
                done
            };
            self.ring.receive_raw(take).unwrap();
            left -= done;
            if done == 0 {
                self.ring.block_until_readable().unwrap();
            }
        }
    }
}
