//! The C library of shmpipe. `include/shmpipe.h` documents each function.
//!
//! | file | what |
//! |---|---|
//! | `abi/` | the exported functions: pointers become references, and results become codes |
//! | `end/` | an end of a ring, as C holds it |
//! | `options.rs` | `shmpipe_options` |
//! | `failure.rs` | the codes, and the last failure of a thread |
//!
//! Only `abi/` has unsafe code. No panic leaves it.

mod abi;
mod end;
mod failure;
mod options;
#[cfg(test)]
mod tests;
