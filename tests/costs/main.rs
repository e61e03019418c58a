//! What a call may do: no system call, no allocation, one publication.

mod allocations;
#[path = "../common/mod.rs"]
mod common;
mod syscalls;
mod vectored;
