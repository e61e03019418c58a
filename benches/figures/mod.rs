//! Tables, charts and a page of the documentation, from the data of a run.
//!
//! The comparison (`benches/peers`) prints and draws with this. A test
//! (`tests/documents/kept.rs`) makes the page again from the data that is kept in
//! `benches/peers/data`, and runs no measurement.

pub(crate) mod chart;
pub(crate) mod data;
pub(crate) mod page;
pub(crate) mod questions;
pub(crate) mod stats;
pub(crate) mod summary;
pub(crate) mod table;
pub(crate) mod verdict;

/// The kind of a contender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) enum Kind {
    Ours,
    /// A transport of the kernel.
    Kernel,
    /// Another library, between processes.
    Crate,
    /// Another library, between threads.
    Threads,
    /// A limit of the machine.
    Limit,
}

impl Kind {
    /// Whether it is what shmpipe is compared with.
    pub(crate) fn is_rival(self) -> bool {
        matches!(self, Kind::Kernel | Kind::Crate | Kind::Threads)
    }
}
