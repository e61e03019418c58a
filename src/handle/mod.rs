//! What the user holds: a ring without roles, its two ends, and grants of their
//! bytes.

pub(crate) mod config;
pub(crate) mod consumer;
pub(crate) mod endpoint;
mod files;
pub(crate) mod grant;
pub(crate) mod producer;
pub(crate) mod ring;
