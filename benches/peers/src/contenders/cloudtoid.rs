//! cloudtoid-interprocess: its calls that do not wait and that copy into the caller's
//! memory, polled.

use std::io;

use cloudtoid_interprocess::{Options, Publisher, Subscriber};

use crate::channel::{Channel, Receiver, Sender, Spec, other, spin};
use crate::name::Name;

pub(crate) struct Queue(Options, #[expect(dead_code, reason = "goes with it")] Name);

impl Channel for Queue {
    type Sender = Publisher;
    type Receiver = Subscriber;

    fn open(spec: &Spec) -> io::Result<Queue> {
        let name = Name::new();
        std::fs::create_dir(name.path())?;
        // Room for a few of the largest messages with their headers.
        let capacity = spec.capacity.max(4 * spec.block.next_power_of_two());
        Ok(Queue(
            Options::new("queue", capacity).with_path(name.path()),
            name,
        ))
    }

    fn sender(self) -> io::Result<Publisher> {
        Publisher::open(&self.0).map_err(other)
    }

    fn receiver(self) -> io::Result<Subscriber> {
        Subscriber::open(&self.0).map_err(other)
    }
}

impl Sender for Publisher {
    #[inline(always)]
    fn send(&mut self, block: &[u8]) {
        spin(|| match self.try_send(block) {
            Ok(()) => Some(()),
            Err(error) if error.is_full() => None,
            Err(error) => panic!("{error:?}"),
        });
    }
}

impl Receiver for Subscriber {
    #[inline(always)]
    fn receive(&mut self, block: &mut [u8]) {
        let len = spin(|| self.try_recv_into(block).unwrap());
        assert_eq!(len, block.len());
    }
}
