//! The handles as `std`'s readers and writers, and as users of other channels
//! expect them.
//!
//! What the test suites of two of those check, and where it is checked here:
//!
//! | suite, test | behaviour | here |
//! |---|---|---|
//! | rtrb, `write_and_read` | a write longer than the room is a short one; a read gives what is there and leaves the rest of the buffer; bytes cross the wrap in order | `short_writes_and_reads_say_how_much` |
//! | rtrb, `write_empty_buf`, `read_empty_buf` | nothing to move is 0 | `nothing_to_move_is_zero` |
//! | rtrb, `write_error`, `read_error` | full and empty are `WouldBlock` | `full_and_empty_would_block` |
//! | rtrb, `push_pop_partial_slice` | partial slices in turns, filled to the last byte | `partial_slices_in_turns` |
//! | rtrb chunks, `iterators` | fewer filled than reserved, fewer consumed than there are; the rest comes next | `a_chunk_may_be_used_in_part` |
//! | rtrb chunks, `zero_capacity` | a chunk of nothing, and too large a one says how much there is | `chunks_of_nothing_and_of_too_much` |
//! | rtrb chunks, `single_capacity` | the least that there is, filled in place | `a_chunk_of_one_byte` |
//! | rtrb chunks, `drop_write_chunk` | what was not committed is gone, what was committed and not read goes with the ring | `a_chunk_that_is_dropped_is_not_written` |
//! | rtrb chunks, `trait_impls` | chunks and errors can be shown, with numbers | `chunks_and_their_errors_can_be_shown` |
//! | `std::io::pipe`, `pipe_creation_clone_and_rw` | what was written is read after the writer has gone, then comes the end; handles cannot be cloned here, but moved | `a_pipe_is_read_to_its_end_after_the_writer_has_gone` |

mod batches;
mod rtrb;
mod tools;
mod vectored;

use std::io::{Read, Write};

use shmpipe::{Consumer, Producer};

use crate::common::bytes_of;

const CAPACITY: usize = 4096;

fn split() -> (Producer, Consumer) {
    crate::common::split(CAPACITY)
}

/// A ring with `room` bytes of room, which a consumer of what is there would
/// have to cross the wrap for.
fn split_with_room(room: usize) -> (Producer, Consumer) {
    let (mut producer, mut consumer) = split();
    let capacity = producer.capacity();
    producer.write_all(&vec![0; capacity - room]).unwrap();
    consumer.read_exact(&mut vec![0; capacity - room]).unwrap();
    producer.write_all(&vec![0; capacity - room]).unwrap();
    (producer, consumer)
}

/// The tail that the segment shows.
fn tail_of(consumer: &Consumer) -> u64 {
    let bytes = bytes_of(consumer.id().unwrap());
    u64::from_ne_bytes(bytes[256..264].try_into().unwrap()) // see tests/memory/layout.rs
}
