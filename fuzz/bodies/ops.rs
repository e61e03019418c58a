//! Any sequence of calls on both ends of a ring, compared with a queue.

use shmpipe::{Consumer, Options, Producer, WaitPolicy};

use super::calls::Call;
use super::memory::{Memory, RING};
use super::model::{Modelled, Place};
use super::tape::Tape;

/// The most calls of one input, so that no input takes long.
const MOST_CALLS: usize = 400;

/// A ring in memory of our own.
#[derive(Debug)]
struct Placed<'a>(&'a Memory, Options);

impl Place for Placed<'_> {
    fn producer(&self) -> Producer {
        let ring = self.0.attach(&self.1).unwrap();
        ring.into_producer().unwrap()
    }

    fn resuming(&self) -> Producer {
        let ring = self.0.attach(self.1.clone().resume(true)).unwrap();
        ring.into_producer().unwrap()
    }

    fn consumer(&self) -> Consumer {
        let ring = self.0.attach(&self.1).unwrap();
        ring.into_consumer().unwrap()
    }

    const ENDS: bool = true;
}

/// Tape: a ring, then calls.
pub(crate) fn run(bytes: &[u8]) {
    let _ = try_run(&mut Tape::new(bytes));
}

fn try_run(tape: &mut Tape<'_>) -> Option<()> {
    let mut options = Options::new();
    options.wait_policy(WaitPolicy::Park); // no call has the time to wait
    let (memory, start) = Memory::with_ring(tape, &options)?;
    let capacity = memory.len() - RING;
    let mut modelled = Modelled::new(Placed(&memory, options), start);
    for _ in 0..MOST_CALLS {
        let Some(call) = Call::read(tape, capacity) else {
            break;
        };
        modelled.apply(call);
    }
    modelled.finish();
    memory.check();
    Some(())
}
