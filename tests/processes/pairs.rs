//! Bytes between processes and threads: who meets whom, and that every byte
//! arrives once and in its place.

mod ends;
mod meeting;
mod sizes;
mod wakes;

use std::io::{Read, Write};

use shmpipe::{Consumer, Producer, Ring};

use crate::common::{check, options, stream};

const SEED: u64 = 0x5eed;

/// Writes the first `len` bytes of the stream of `seed` in blocks of `block`.
fn send(producer: &mut Producer, seed: u64, len: usize, block: usize) {
    let mut position = 0;
    while position < len {
        let bytes = stream(seed, position as u64, block.min(len - position));
        // One call takes it all, however large it is.
        assert_eq!(producer.write(&bytes).unwrap(), bytes.len());
        position += bytes.len();
    }
}

/// Reads to the end, in blocks of at most `block`, and checks that it is the
/// first `len` bytes of the stream of `seed`.
fn receive(consumer: &mut Consumer, seed: u64, len: usize, block: usize) {
    let mut bytes = vec![0; block];
    let mut position = 0;
    loop {
        let read = consumer.read(&mut bytes).unwrap();
        if read == 0 {
            break;
        }
        check(seed, position, &bytes[..read]);
        position += read as u64;
    }
    assert_eq!(position, len as u64);
}

fn anonymous(capacity: usize) -> Ring {
    options().capacity(capacity).create_anonymous().unwrap()
}
