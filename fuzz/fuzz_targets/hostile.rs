//! Calls on both ends of a ring, interleaved with a stranger's stores to it.
#![no_main]

#[path = "../bodies/mod.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bodies::hostile::run(bytes));
