//! One word in shared memory with a futex on it, and nothing else: one value of up to eight
//! words at a time.
#![allow(unsafe_code)] // the system call

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::channel::{Channel, Receiver, Sender, Spec};
use crate::sys::{Line, Shared, Zeroed};

#[repr(C)]
pub(crate) struct Cell {
    count: Line<AtomicU32>,
    value: Line<[AtomicU64; 8]>,
}

// SAFETY: atomic integers.
unsafe impl Zeroed for Cell {}

pub(crate) struct Word(Arc<Shared<Cell>>);

/// An end, and the number of values so far.
pub(crate) struct End(Arc<Shared<Cell>>, u32);

impl Channel for Word {
    type Sender = End;
    type Receiver = End;

    fn open(_: &Spec) -> io::Result<Word> {
        Ok(Word(Arc::new(Shared::new())))
    }

    fn sender(self) -> io::Result<End> {
        Ok(End(self.0, 0))
    }

    fn receiver(self) -> io::Result<End> {
        Ok(End(self.0, 0))
    }
}

impl Sender for End {
    fn send(&mut self, block: &[u8]) {
        for (word, bytes) in self.0.value.0.iter().zip(block.as_chunks().0) {
            word.store(u64::from_ne_bytes(*bytes), Ordering::Relaxed); // before the count
        }
        self.1 += 1;
        self.0.count.0.store(self.1, Ordering::Release);
        // SAFETY: the word is mapped. The other arguments are numbers.
        unsafe {
            libc::syscall(
                libc::SYS_futex,
                &raw const self.0.count.0,
                libc::FUTEX_WAKE,
                1,
            )
        };
    }
}

impl Receiver for End {
    fn receive(&mut self, block: &mut [u8]) {
        loop {
            let count = self.0.count.0.load(Ordering::Acquire);
            if count != self.1 {
                self.1 = count;
                for (word, bytes) in self.0.value.0.iter().zip(block.as_chunks_mut().0) {
                    *bytes = word.load(Ordering::Relaxed).to_ne_bytes();
                }
                return;
            }
            let (word, forever) = (
                &raw const self.0.count.0,
                std::ptr::null::<libc::timespec>(),
            );
            // SAFETY: the word is mapped. The timeout is null: none.
            unsafe { libc::syscall(libc::SYS_futex, word, libc::FUTEX_WAIT, count, forever) };
        }
    }
}
