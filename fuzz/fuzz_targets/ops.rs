//! Any sequence of calls on both ends of a ring, compared with a queue.
#![no_main]

#[path = "../bodies/mod.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bodies::ops::run(bytes));
