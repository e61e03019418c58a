//! The command, as its users run it.
#![cfg(feature = "cli")]

#[path = "../common/mod.rs"]
mod common;

mod endings;
mod running;
mod streams;
mod verbs;
