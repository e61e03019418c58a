//! Opening, what persists, looking in, and what each error says.

#[path = "../common/mod.rs"]
mod common;
mod errors;
mod events;
mod messages;
mod monitor;
mod open;
mod persist;
mod refused;
