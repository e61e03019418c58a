//! The segment behind a mapping, as the kernel knows it: its id, key and attachments.
#![deny(unsafe_code)]

use super::{Mapping, Memory};
use crate::sys::process;
use crate::sys::sysv::{self, DoubleView, Key, SegmentId, SysvError, SysvErrorKind};

impl Mapping {
    /// The id of the segment. `None` for the caller's memory.
    pub(crate) fn id(&self) -> Option<SegmentId> {
        match &self.origin.memory {
            Memory::Segment { view, .. } => Some(view.id()),
            Memory::Borrowed => None,
        }
    }

    /// Removes the segment. The caller knows that no process needs to find the ring any more. A
    /// segment of another user is left to that user's side. Removes nothing if this process has
    /// moved to another IPC namespace, where the id means another segment.
    pub(crate) fn unlink(&self) -> Result<(), SysvError> {
        let Some(id) = self.known_id() else {
            return Ok(());
        };
        match sysv::remove_if_there(id) {
            Err(error) if error.kind() == SysvErrorKind::PermissionDenied => Ok(()),
            removed => removed,
        }
    }

    /// The id of the segment, if the id still means this segment here. Ids belong to one IPC
    /// namespace, and a process can move to another.
    ///
    /// Where `/proc` does not tell the namespace, the kernel's description decides. The id counts
    /// if the segment's maker, size, mode and change time are what they were at the attach.
    pub(crate) fn known_id(&self) -> Option<SegmentId> {
        match &self.origin.memory {
            Memory::Segment {
                view,
                ipc_namespace,
            } => {
                let id = view.id();
                let is_known = match (*ipc_namespace, process::namespace("ipc")) {
                    (0, _) | (_, 0) => sysv::stat(id).is_ok_and(|stat| stat.may_be(view.stat())),
                    (then, now) => then == now,
                };
                is_known.then_some(id)
            }
            Memory::Borrowed => None,
        }
    }

    /// The key that leads to the segment, if there is one.
    pub(crate) fn key(&self) -> Option<Key> {
        let stat = sysv::stat(self.known_id()?).ok()?;
        Key::from_raw(stat.key_raw).ok()
    }

    /// What this mapping adds to the segment's attach count.
    pub(crate) fn views(&self) -> u32 {
        match &self.origin.memory {
            Memory::Segment { .. } => DoubleView::VIEWS as u32,
            Memory::Borrowed => 0,
        }
    }

    /// Populates all pages of a segment, in memory and in this process's page tables.
    pub(crate) fn populate(&self) -> Result<(), SysvError> {
        match &self.origin.memory {
            Memory::Segment { view, .. } => view.populate(),
            Memory::Borrowed => Ok(()),
        }
    }
}
