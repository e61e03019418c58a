//! What is written down, held against the code.

#[path = "../common/mod.rs"]
mod common;
mod doctests;
mod examples;
#[path = "../../benches/figures/mod.rs"]
#[allow(dead_code)] // the comparison has more uses for it
mod figures;
mod kept;
mod layers;
mod orderings;
mod readme;
