//! The command, as its users run it.
#![cfg(feature = "cli")]

#[path = "../common/mod.rs"]
mod common;

mod descriptors;
mod endings;
mod paths;
mod persist;
mod running;
mod streams;
mod verbs;
