//! The record of who holds a role: written by its claimer, read by anybody.

use crate::segment::layout::Record;
use crate::sync::{Ordering, fence};
use crate::sys::process::{self, Liveness, Process, Watch};

/// The most attachments that a record is believed to stand for.
const MOST_VIEWS: u32 = 2;

/// A process and one of its claims, in a word: process id, pid namespace,
/// start time and generation. The last three are cut short, so the word is
/// enough to prove a half-done claimer dead, and to tell two claims apart.
///
/// The inode numbers of namespaces are given out from the lowest free one on,
/// so 18 bits of them tell 2^18 namespaces that live at a time from one
/// another.
pub(crate) fn owner_word(process: &Process, generation: u16) -> u64 {
    u64::from(process.pid) << 42
        | u64::from(process.pid_namespace & NAMESPACE) << 24
        | u64::from(process::start_end(process.start)) << 2
        | u64::from(generation & 3)
}

/// The bits of a pid namespace's inode number that an owner word has.
const NAMESPACE: u32 = 0x3_ffff;

/// Whether an owner word may be that of the claim of this `generation`.
pub(crate) fn is_of(owner: u64, generation: u16) -> bool {
    owner & 3 == u64::from(generation) & 3
}

/// The process id in an owner word.
pub(crate) fn pid_of(owner: u64) -> u32 {
    (owner >> 42) as u32
}

/// The process whose claim had this `generation`, the last one that held the
/// role; 0 when the record is another claimer's by now.
pub(crate) fn last_holder(record: &Record, generation: u16) -> u32 {
    let complete = record.complete.load(Ordering::Relaxed); // one word, P6
    match is_of(complete, generation) {
        true => pid_of(complete),
        false => 0,
    }
}

/// Gives a role, which was not had, back to its dead holder `found`, or to
/// nobody.
pub(crate) fn restore_owner(record: &Record, owner: u64, found: u64) {
    // A failure means that somebody else wrote it; then it is not ours to give.
    let _ = record
        .owner
        .compare_exchange(owner, found, Ordering::Release, Ordering::Relaxed); // P6
}

pub(crate) fn release_owner(record: &Record, owner: u64) {
    restore_owner(record, owner, 0);
}

/// Who has a role, or is about to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Holder {
    pub(crate) owner: u64,
    pub(crate) process: Process,
    pub(crate) views: u32,
    capabilities: u32,
}

impl Holder {
    /// Copies a record out; nothing when it has no owner.
    ///
    /// Relaxed loads and fences: the record may be in a mapping that is
    /// read-only (`inspect::load_state`).
    pub(crate) fn read(record: &Record) -> Option<Holder> {
        let owner = record.owner.load(Ordering::Relaxed); // compared only
        if owner == 0 {
            return None;
        }
        let complete = record.complete.load(Ordering::Relaxed); // P6, with the fence
        fence(Ordering::Acquire); // P6
        let holder = Holder {
            owner,
            process: Process {
                pid: pid_of(owner),
                start: record.start.load(Ordering::Relaxed), // P6
                pid_namespace: record.pid_namespace.load(Ordering::Relaxed), // P6
                time_namespace: record.time_namespace.load(Ordering::Relaxed), // P6
            },
            views: record.views.load(Ordering::Relaxed).min(MOST_VIEWS), // P6
            capabilities: record.capabilities.load(Ordering::Relaxed),   // P6
        };
        fence(Ordering::Acquire); // P6
        // Only if the owner is the same before and after are the words its.
        let again = record.owner.load(Ordering::Relaxed); // P6
        Some(if complete == owner && again == owner {
            holder
        } else {
            Holder::half_done(owner)
        })
    }

    /// What the owner word alone says: the process, if it is in our pid
    /// namespace, and the end of its start time.
    fn half_done(owner: u64) -> Holder {
        let own = Process::current().pid_namespace;
        let same = own != 0 && u64::from(own & NAMESPACE) == owner >> 24 & u64::from(NAMESPACE);
        Holder {
            owner,
            process: Process {
                pid: pid_of(owner),
                start: 0,
                pid_namespace: if same { own } else { 0 },
                time_namespace: 0,
            },
            views: 1,
            capabilities: 0,
        }
    }

    /// What the holder says that it can do: bits of `Record::capabilities`.
    pub(crate) fn capabilities(&self) -> u32 {
        self.capabilities
    }

    /// Whether the process is alive, as far as can be told without knowing
    /// who has the segment attached.
    pub(crate) fn liveness(&self) -> Liveness {
        self.watch().check()
    }

    pub(crate) fn watch(&self) -> Watch {
        // No loss: it has as many bits.
        let start_end = process::start_end(self.owner >> 2);
        let is_all_there_is = self.process.start == 0 && start_end != 0;
        Watch::with_start_end(self.process, is_all_there_is.then_some(start_end))
    }
}
