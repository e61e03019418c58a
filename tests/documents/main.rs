//! What is written down, held against the code.

#[path = "../common/mod.rs"]
mod common;
mod examples;
mod layers;
mod orderings;
mod readme;
