//! The memory of a ring: its layout, the mapping that holds it, and the region that copies bytes.

pub(crate) mod closed;
pub(crate) mod copy;
pub(crate) mod identity;
pub(crate) mod layout;
pub(crate) mod mapping;
pub(crate) mod position;
pub(crate) mod record;
pub(crate) mod region;
pub(crate) mod state;
