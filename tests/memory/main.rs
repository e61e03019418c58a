//! The memory of rings: segments, their bytes and pages, and the caller's
//! memory.

#[path = "../../fuzz/bodies/mod.rs"]
mod bodies;
#[path = "../common/mod.rs"]
mod common;
mod layout;
mod locked;
mod own;
mod prefault;
mod sysv;
