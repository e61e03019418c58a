//! Bytes between processes: unrelated, forked, spawned.

mod child;
#[path = "../common/mod.rs"]
mod common;
mod duplex;
mod forks;
mod pairs;
