//! The fuzz targets as plain functions of an input. The targets in `fuzz_targets/` call
//! them with inputs from libFuzzer. The crate's own tests call them with `corpus/` and with
//! inputs from proptest.
//!
//! | target | function | it fails when |
//! |---|---|---|
//! | `header` | [`header::run`] | attaching to any bytes panics, or gives a ring that reaches outside them |
//! | `ops` | [`ops::run`] | a call does to a ring anything else than to a queue |
//! | `hostile` | [`hostile::run`] | a stranger's stores make a call panic, hang, reach outside, or say what it must not |
//!
//! [`calls`] makes any call on a handle, for the targets and for other tests.
//!
//! To add a target: a function of `&[u8]` here, a file in `fuzz_targets/`, a `[[bin]]` in
//! `fuzz/Cargo.toml`, and seeds in `seeds.rs`.
#![allow(dead_code)] // each user has a part of it

pub(crate) mod calls;
pub(crate) mod header;
pub(crate) mod hostile;
pub(crate) mod memory;
pub(crate) mod model;
pub(crate) mod ops;
pub(crate) mod seeds;
pub(crate) mod tape;
