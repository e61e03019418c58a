//! Streams: the calls that move bytes, with each limit and to each kind of
//! descriptor; and the same calls at random, against a queue.

mod api;
#[path = "../../fuzz/bodies/mod.rs"]
mod bodies;
#[path = "../common/mod.rs"]
mod common;
mod cursors;
mod deadlines;
mod fuzz_replay;
mod grants;
mod model;
mod pipes;
mod small;
mod transfer;
mod waits;
