//! Peers in C and in Python, written from src/guide/format.md, against the library and one another. A
//! peer whose tools are missing is left out, and that is said: see [`languages`].
#![allow(unsafe_code)] // words of segments

#[path = "../common/mod.rs"]
mod common;
mod cross;
mod deaths;
mod golden;
mod in_memory;
mod languages;
mod library;
mod mutants;
mod probes;
mod refusals;

/// The library as a peer, in a process of its own: what [`languages::Peer`] starts.
#[test]
fn the_rust_peer() {
    if let Some(part) = common::part() {
        library::play(&part);
    }
}
