//! Random sequences of every call that moves bytes, against a queue of bytes
//! that says what each must give; from positions anywhere in their range. The
//! fuzz target `ops` does the same in memory of its own.

use crate::bodies::calls::{Call, Parting};
use crate::bodies::model::{Modelled, Place};
use crate::common::offsets::set_start;
use crate::common::{TempPath, options, page};
use proptest::collection::vec;
use proptest::prelude::*;
use shmpipe::{Consumer, Options, Producer};

/// A ring in a segment that persists, so that its ends can be taken again.
#[derive(Debug)]
struct Segment {
    path: TempPath,
    options: Options,
}

impl Segment {
    /// With both positions at `start`.
    fn new(start: u64) -> Segment {
        let path = TempPath::new();
        let mut options = options();
        options.persistent(true).capacity(4096);
        drop(options.open_consumer(&path).unwrap());
        set_start(path.segment().unwrap(), start);
        Segment { path, options }
    }
}

impl Place for Segment {
    fn producer(&self) -> Producer {
        self.options.open_producer(&self.path).unwrap()
    }

    fn consumer(&self) -> Consumer {
        self.options.open_consumer(&self.path).unwrap()
    }

    const ENDS: bool = false;
}

fn call() -> impl Strategy<Value = Call> {
    let len = || prop_oneof![3 => 0..100_usize, 2 => 0..5000_usize, 1 => Just(4096_usize)];
    prop_oneof![
        len().prop_map(Call::Write),
        vec(len(), 0..5).prop_map(Call::WriteParts),
        len().prop_map(Call::WriteDeadline),
        (len(), len()).prop_map(|(len, part)| Call::Reserve(len, part)),
        (len(), len()).prop_map(|(len, part)| Call::ReserveUpTo(len, part)),
        (len(), len()).prop_map(|(len, part)| Call::ReserveDeadline(len, part)),
        Just(Call::Flush),
        prop_oneof![Just(0), 0..6000_usize].prop_map(Call::Batch),
        len().prop_map(Call::Room),
        len().prop_map(Call::Read),
        vec(len(), 0..5).prop_map(Call::ReadParts),
        len().prop_map(Call::ReadExactDeadline),
        (len(), len()).prop_map(|(len, part)| Call::Peek(len, part)),
        (len(), len()).prop_map(|(len, part)| Call::PeekUpTo(len, part)),
        (len(), len()).prop_map(|(len, part)| Call::PeekDeadline(len, part)),
        Just(Call::Available),
        len().prop_map(Call::Receive),
        any::<bool>().prop_map(Call::Spin),
        Just(Call::NewProducer(Parting::Close)),
        Just(Call::NewProducer(Parting::Abort)),
        Just(Call::NewConsumer),
    ]
}

/// Where positions may stand: near zero, a lap, 2^32 and the end of the range.
fn start() -> impl Strategy<Value = u64> {
    let marks = [0, 4096, 1 << 32, 1 << 63, u64::MAX];
    (prop::sample::select(marks.to_vec()), 0..10_000_u64)
        .prop_map(|(mark, before)| mark.wrapping_sub(before))
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_call_does_to_a_ring_what_it_does_to_a_queue(
        start in start(),
        calls in vec(call(), 1..120),
    ) {
        prop_assume!(page() == 4096);
        let mut modelled = Modelled::new(Segment::new(start), start);
        for call in calls {
            modelled.apply(call);
        }
        modelled.finish();
    }
}
