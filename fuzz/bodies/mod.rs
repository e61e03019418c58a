//! What the fuzz targets do, as plain functions of an input: the targets in
//! `fuzz_targets/` hand them what libFuzzer makes up, and the crate's own
//! tests what is in `corpus/` and what proptest makes up.
//!
//! | target | function | it fails when |
//! |---|---|---|
//! | `header` | [`header::run`] | attaching to any bytes panics, or gives a ring that reaches outside them |
//! | `ops` | [`ops::run`] | a call does to a ring anything else than to a queue |
//! | `hostile` | [`hostile::run`] | a stranger's stores make a call panic, hang, reach outside, or say what it must not |
//!
//! [`calls`] makes any call on a handle, for these and for other tests.
//!
//! To add one: a function of `&[u8]` here, a target that calls it, a `[[bin]]`
//! in `fuzz/Cargo.toml`, and its seeds in `seeds.rs`.
#![allow(dead_code)] // each user has a part of it

pub(crate) mod calls;
pub(crate) mod header;
pub(crate) mod hostile;
pub(crate) mod memory;
pub(crate) mod model;
pub(crate) mod ops;
pub(crate) mod seeds;
pub(crate) mod tape;
