//! Attaching a ring by its segment's id.

use super::classify::{Class, Requirements, classify};
use super::config::OpenConfig;
use super::keyfile::KeyFile;
use crate::error::{Incompatible, MemoryError, OpenError};
use crate::segment::identity::{Geometry, ring_offset};
use crate::segment::mapping::Mapping;
use crate::sys::sysv::{self, SegmentId, SysvErrorKind};
use crate::tuning::MAKING_LIMIT;

/// Attaches the ring whose segment is `id`.
pub(crate) fn attach(id: SegmentId, config: &OpenConfig) -> Result<Mapping, OpenError> {
    let deadline = config.deadline();
    let required = Requirements::by_id(config.mode, &config.owners);
    loop {
        let found = classify(id, &required, &deadline)?;
        match found.class {
            Class::Absent => return Err(OpenError::removed(id)),
            Class::Newborn if deadline.elapsed() >= MAKING_LIMIT => return Err(half_made(id)),
            Class::Newborn => deadline.pause("the ring is being made")?,
            Class::Stillborn => return Err(half_made(id)),
            Class::Live(geometry) | Class::Orphan(geometry) => return attach_live(id, &geometry),
            Class::Spent => {
                // The ring takes no new holders. A caller that knows the id can
                // attach it, and gets an error from the claim of a role.
                let view = sysv::attach_double(id, ring_offset())?;
                return Mapping::open(view).map_err(|reason| OpenError::not_a_ring(id, reason));
            }
            class => return Err(class.refusal(id).unwrap_or(OpenError::removed(id))),
        }
    }
}

/// The error for a ring that takes no new holders. In the caller's memory, only
/// a process that breaks the protocol causes this.
pub(super) fn gone(mapping: &Mapping) -> OpenError {
    match mapping.id() {
        Some(id) => OpenError::removed(id),
        None => MemoryError::NotARing(Incompatible::State {
            found: mapping.header().state().0,
        })
        .into(),
    }
}

pub(super) fn half_made(id: SegmentId) -> OpenError {
    OpenError::not_a_ring(id, Incompatible::HalfMade)
}

/// Attaches a segment that was classified as live, and checks that the ring is
/// still the same.
pub(super) fn attach_live(id: SegmentId, geometry: &Geometry) -> Result<Mapping, OpenError> {
    let removed = |error: sysv::SysvError| match error.kind() {
        SysvErrorKind::Removed | SysvErrorKind::NotFound => OpenError::removed(id),
        _ => OpenError::System(error),
    };
    let view = sysv::attach_double(id, geometry.ring_offset).map_err(removed)?;
    let mapping = Mapping::open(view).map_err(|reason| OpenError::not_a_ring(id, reason))?;
    if mapping.geometry().nonce != geometry.nonce {
        return Err(OpenError::removed(id));
    }
    Ok(mapping)
}

/// The id of the segment that `file` leads to.
pub(crate) fn named_by(file: &KeyFile) -> Result<SegmentId, OpenError> {
    sysv::open(file.key()).map_err(|error| match error.kind() {
        SysvErrorKind::NotFound => OpenError::NoRing {
            path: file.path().to_owned(),
        },
        _ => OpenError::System(error),
    })
}

/// Whether a failed inspection may have missed a ring: `error` is about this
/// process or the kernel, not about the segment.
pub(crate) fn may_hide_a_ring(error: &sysv::SysvError) -> bool {
    matches!(
        error.kind(),
        SysvErrorKind::OutOfMemory | SysvErrorKind::LimitReached { .. } | SysvErrorKind::Other
    )
}
