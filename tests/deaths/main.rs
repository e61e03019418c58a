//! Deaths, and the living that are not taken for dead.

#[path = "../common/mod.rs"]
mod common;
mod kills;
mod liveness;
mod rows;
