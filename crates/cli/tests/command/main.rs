//! The command, as its users run it.

#[path = "../../../../tests/common/mod.rs"]
mod common;

mod descriptors;
mod documents;
mod endings;
mod inherited;
mod paths;
mod persist;
mod running;
mod speed;
mod streams;
mod verbs;
