//! shmpipe: its public interface, with an anonymous ring over a fork. In place, its grants.
#![allow(unsafe_code)] // slices of a ring

use std::io;

use crate::channel::{
    Channel, Receiver, ReceiverInPlace, Sender, SenderInPlace, Spec, Threads, Wait,
};

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

impl SenderInPlace for shmpipe::Producer {
    #[inline(always)]
    fn send_in_place(&mut self, len: usize, mut make: impl FnMut(&mut [u8])) {
        let mut grant = self.reserve(len).unwrap();
        // SAFETY: the peer is this program, which keeps to the protocol. This process made
        // the grant.
        make(unsafe { grant.as_mut_slice() });
        grant.commit_all();
    }
}

impl ReceiverInPlace for shmpipe::Consumer {
    #[inline(always)]
    fn receive_in_place(&mut self, len: usize, mut check: impl FnMut(&[u8])) {
        let grant = self.peek(len).unwrap();
        // SAFETY: the peer is this program, which keeps to the protocol. This process made
        // the grant.
        check(unsafe { grant.as_slice() });
        grant.consume_all();
    }
}

/// The same ring, with many blocks in one grant.
pub(crate) struct ManyInAGrant(Ring);

/// An end of it.
pub(crate) struct Many<T>(T);

/// The longest grant of the sender, unless a block is longer.
const MOST_SENT: usize = 64 << 10;
/// The longest grant of the receiver, unless a block is longer.
const MOST_RECEIVED: usize = 1 << 20;

impl Channel for ManyInAGrant {
    type Sender = Many<shmpipe::Producer>;
    type Receiver = Many<shmpipe::Consumer>;

    fn open(spec: &Spec) -> io::Result<ManyInAGrant> {
        Ring::open(spec).map(ManyInAGrant)
    }

    fn sender(self) -> io::Result<Many<shmpipe::Producer>> {
        self.0.sender().map(Many)
    }

    fn receiver(self) -> io::Result<Many<shmpipe::Consumer>> {
        self.0.receiver().map(Many)
    }
}

impl Sender for Many<shmpipe::Producer> {
    fn send(&mut self, block: &[u8]) {
        self.0.send(block);
    }

    fn calls(&self) -> Option<u64> {
        self.0.calls()
    }
}

impl Receiver for Many<shmpipe::Consumer> {
    fn receive(&mut self, block: &mut [u8]) {
        self.0.receive(block);
    }

    fn calls(&self) -> Option<u64> {
        self.0.calls()
    }
}

/// Bytes of the longest grant: whole blocks, one at least, and `left` of them at most.
fn longest(most: usize, len: usize, left: u64) -> usize {
    let blocks = (most / len).max(1);
    blocks.min(left as usize) * len
}

impl SenderInPlace for Many<shmpipe::Producer> {
    #[inline(always)]
    fn send_in_place(&mut self, len: usize, make: impl FnMut(&mut [u8])) {
        self.0.send_in_place(len, make);
    }

    #[inline(always)]
    fn send_all_in_place(&mut self, count: u64, len: usize, mut make: impl FnMut(&mut [u8])) {
        let mut left = count;
        while left > 0 {
            let most = longest(MOST_SENT, len, left);
            let mut grant = self.0.reserve_up_to(most).unwrap();
            let whole = grant.len() - grant.len() % len;
            if whole == 0 {
                // Less than a block: this waits for a whole one.
                self.send_in_place(len, &mut make);
                left -= 1;
                continue;
            }
            // SAFETY: the peer is this program, which keeps to the protocol. This process
            // made the grant.
            let room = unsafe { grant.as_mut_slice() };
            room.chunks_exact_mut(len).for_each(&mut make);
            grant.commit(whole);
            left -= (whole / len) as u64;
        }
    }
}

impl ReceiverInPlace for Many<shmpipe::Consumer> {
    #[inline(always)]
    fn receive_in_place(&mut self, len: usize, check: impl FnMut(&[u8])) {
        self.0.receive_in_place(len, check);
    }

    #[inline(always)]
    fn receive_all_in_place(&mut self, count: u64, len: usize, mut check: impl FnMut(&[u8])) {
        let mut left = count;
        while left > 0 {
            let most = longest(MOST_RECEIVED, len, left);
            let grant = self.0.peek_up_to(most).unwrap();
            let whole = grant.len() - grant.len() % len;
            if whole == 0 {
                // Less than a block: this waits for a whole one.
                self.receive_in_place(len, &mut check);
                left -= 1;
                continue;
            }
            // SAFETY: the peer is this program, which keeps to the protocol. This process
            // made the grant.
            let bytes = unsafe { grant.as_slice() };
            bytes.chunks_exact(len).for_each(&mut check);
            grant.consume(whole);
            left -= (whole / len) as u64;
        }
    }
}
