//! Messages on a ring of bytes: length-prefixed records, and values of one type.

#[path = "../common/mod.rs"]
mod common;
mod processes;
mod records;
mod sets;
#[cfg(feature = "zerocopy")]
mod typed;

use shmpipe::{Consumer, Options, Producer};

use common::memory::Mapping;
use common::{options, page};

/// A ring of so many bytes in memory of the test's own, which ends where the ring does.
struct Own {
    memory: Mapping,
    options: Options,
}

impl Own {
    fn new(capacity: usize) -> Own {
        let mut options = options();
        options.capacity(capacity);
        let memory = Mapping::new(page() + capacity.next_multiple_of(page()));
        drop(memory.init(&options).unwrap());
        Own { memory, options }
    }

    fn ends(&self) -> (Producer, Consumer) {
        let ring = self.memory.attach(&self.options).unwrap();
        ring.split().unwrap()
    }
}
