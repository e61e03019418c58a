//! ringfire, without loss: values of the block's size, polled by its calls that do not
//! wait. Its blobs of any size are lossy. A value is passed on the stack, so blocks of 1
//! MiB are left out.

use std::io;

use ringfire::{
    ConsumerStartMode, FlowControl, RingConsumer, RingConsumerBuilder, RingProducer,
    RingProducerBuilder,
};

use crate::channel::{Channel, Receiver, Sender, Spec, other, spin};
use crate::job::Job;
use crate::name::Name;
use crate::run::{Plan, Sample, processes};

pub(crate) struct Ring<const N: usize>(RingProducer<[u8; N]>, Name);

/// The ring of values of the block's size.
pub(crate) fn run(spec: &Spec, job: Job, plan: &Plan, pairs: usize) -> Result<Sample, String> {
    match spec.block {
        8 => processes::<Ring<8>>(spec, job, plan, pairs),
        64 => processes::<Ring<64>>(spec, job, plan, pairs),
        256 => processes::<Ring<256>>(spec, job, plan, pairs),
        1024 => processes::<Ring<1024>>(spec, job, plan, pairs),
        4096 => processes::<Ring<4096>>(spec, job, plan, pairs),
        65_536 => processes::<Ring<65_536>>(spec, job, plan, pairs),
        block => Err(format!("no value of {block} bytes is set up")),
    }
}

impl<const N: usize> Channel for Ring<N> {
    type Sender = RingProducer<[u8; N]>;
    type Receiver = RingConsumer<[u8; N]>;

    fn open(spec: &Spec) -> io::Result<Self> {
        let name = Name::new();
        let values = (spec.capacity / N).next_power_of_two() as u64;
        let producer = RingProducerBuilder::new(values)
            .flow_control(FlowControl::LosslessBackpressure)
            .max_readers(1)
            .build(name.path())
            .map_err(other)?;
        Ok(Ring(producer, name))
    }

    fn sender(self) -> io::Result<Self::Sender> {
        Ok(self.0)
    }

    fn receiver(self) -> io::Result<Self::Receiver> {
        std::mem::forget(self.0); // the sender's, which would remove the file
        RingConsumerBuilder::new()
            .start_mode(ConsumerStartMode::Oldest)
            .attach(self.1.path())
            .map_err(other)
    }
}

impl<const N: usize> Sender for RingProducer<[u8; N]> {
    #[inline(always)]
    fn send(&mut self, block: &[u8]) {
        let value = block.first_chunk().expect("a block of the value's size");
        spin(|| self.try_push(value).ok());
    }
}

impl<const N: usize> Receiver for RingConsumer<[u8; N]> {
    #[inline(always)]
    fn receive(&mut self, block: &mut [u8]) {
        let (values, _) = block.as_chunks_mut::<N>();
        spin(|| (self.recv_batch(values) == 1).then_some(()));
        debug_assert_eq!(self.lapped_count(), 0);
    }
}
