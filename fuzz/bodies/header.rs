//! Attaches to any bytes.

use std::time::Duration;

use shmpipe::{Options, Ring};

use super::memory::{Memory, RING};
use super::tape::Tape;

/// Tape: the length of the memory, whether a ring was made there before, and the bytes that
/// are then stored over it. The bytes are stored as they are, or word by word.
pub(crate) fn run(bytes: &[u8]) {
    let _ = try_run(&mut Tape::new(bytes));
}

fn try_run(tape: &mut Tape<'_>) -> Option<()> {
    let len = RING + usize::from(tape.short()? % 8193);
    let memory = Memory::new(len);
    let mut options = Options::new();
    options.timeout(Some(Duration::ZERO));
    let kind = tape.byte()?;
    if kind & 1 != 0 {
        // Memory that is too small has no ring.
        let _ = memory.init(&options);
    }
    if kind & 2 != 0 {
        memory.fill(tape.rest());
    } else {
        while let Some((offset, size, word)) = patch(tape) {
            memory.store(offset, size, word);
        }
    }
    for _ in 0..2 {
        if let Ok(ring) = memory.attach(&options) {
            assert!(ring.capacity().is_power_of_two() && ring.capacity() <= len - RING);
            assert_eq!((ring.id(), ring.key()), (None, None));
            try_both_ends(ring);
        }
        memory.check();
    }
    Some(())
}

fn patch(tape: &mut Tape<'_>) -> Option<(usize, u8, u64)> {
    Some((usize::from(tape.short()?), tape.byte()? % 9, tape.long()?))
}

/// Takes the roles that are free, and moves some bytes.
fn try_both_ends(ring: Ring) {
    let Ok((mut producer, mut consumer)) = ring.split() else {
        return;
    };
    let mut bytes = [0; 100];
    let written = producer.try_write(&bytes);
    let read = consumer.try_read(&mut bytes);
    let _ = (consumer.next_stream(), consumer.stream_position());
    assert!(written.is_err() || written.is_ok_and(|len| len <= 100));
    assert!(read.is_err() || read.is_ok_and(|len| len <= 100));
    let _ = producer.close();
    let _ = consumer.close();
}
