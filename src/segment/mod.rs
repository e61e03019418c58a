//! The memory of a ring: its layout, and the mappings of it.

pub(crate) mod closed;
pub(crate) mod copy;
pub(crate) mod identity;
pub(crate) mod layout;
pub(crate) mod position;
pub(crate) mod record;
pub(crate) mod region;
pub(crate) mod state;
