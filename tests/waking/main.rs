//! No wake is lost.

#[path = "../common/mod.rs"]
mod common;
mod parking;
mod store_buffer;
