//! shmpipe: its public interface, with an anonymous ring over a fork.

use std::io;

use crate::channel::{Channel, Receiver, Sender, Spec, Threads, Wait};

pub(crate) struct Ring(shmpipe::Ring);

impl Channel for Ring {
    type Sender = shmpipe::Producer;
    type Receiver = shmpipe::Consumer;

    fn open(spec: &Spec) -> io::Result<Ring> {
        let mut options = shmpipe::Options::new();
        options.capacity(spec.capacity);
        match spec.wait {
            Wait::Default => {}
            Wait::Spin => {
                options.wait_policy(shmpipe::WaitPolicy::Spin);
            }
            Wait::Park => {
                options.wait_policy(shmpipe::WaitPolicy::Park);
            }
        }
        Ok(Ring(options.create_anonymous()?))
    }

    fn sender(self) -> io::Result<shmpipe::Producer> {
        Ok(self.0.into_producer()?)
    }

    fn receiver(self) -> io::Result<shmpipe::Consumer> {
        Ok(self.0.into_consumer()?)
    }
}

impl Threads for Ring {
    fn split(self) -> (shmpipe::Producer, shmpipe::Consumer) {
        self.0.split().expect("both ends are free")
    }
}

impl Sender for shmpipe::Producer {
    #[inline(always)]
    fn send(&mut self, block: &[u8]) {
        io::Write::write_all(self, block).unwrap();
    }

    fn calls(&self) -> Option<u64> {
        let stats = self.stats();
        Some(stats.sleeps + stats.wakes)
    }
}

impl Receiver for shmpipe::Consumer {
    #[inline(always)]
    fn receive(&mut self, block: &mut [u8]) {
        io::Read::read_exact(self, block).unwrap();
    }

    fn calls(&self) -> Option<u64> {
        let stats = self.stats();
        Some(stats.sleeps + stats.wakes)
    }
}
