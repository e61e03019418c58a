//! The record of a role's holder: written by the claimer, read by anybody.

use crate::segment::layout::Record;
use crate::sync::{Ordering, fence};
use crate::sys::process::{self, Liveness, Process, Watch};

/// The most attachments that a record can credibly stand for.
const MOST_VIEWS: u32 = 2;

/// Packs a claim into one word: process id, pid namespace, start time and generation. The last
/// three are truncated. The word is still enough to prove a half-done claimer dead, and to tell two
/// claims apart.
///
/// The kernel gives a new namespace the lowest free inode number, so the numbers in use lie close
/// together. Their low 18 bits distinguish up to 2^18 of them.
pub(crate) fn owner_word(process: &Process, generation: u16) -> u64 {
    u64::from(process.pid) << 42
        | u64::from(process.pid_namespace & NAMESPACE) << 24
        | u64::from(process::start_low_bits(process.start)) << 2
        | u64::from(generation & 3)
}

/// The bits of a pid namespace's inode number that an owner word holds.
const NAMESPACE: u32 = 0x3_ffff;

/// Whether an owner word may belong to the claim of this `generation`.
pub(crate) fn is_of(owner: u64, generation: u16) -> bool {
    owner & 3 == u64::from(generation) & 3
}

/// The process id in an owner word.
pub(crate) fn pid_of(owner: u64) -> u32 {
    (owner >> 42) as u32
}

/// The process id of the role's last holder, whose claim had this `generation`. Returns 0 if
/// another claimer has filled the record since.
pub(crate) fn last_holder(record: &Record, generation: u16) -> u32 {
    let complete = record.complete.load(Ordering::Relaxed); // one word, P6
    match is_of(complete, generation) {
        true => pid_of(complete),
        false => 0,
    }
}

/// Undoes a claim that failed: restores the owner word `found`, which is that of a dead holder, or
/// 0.
pub(crate) fn restore_owner(record: &Record, owner: u64, found: u64) {
    // A failure means that another process has written the word, which is then not ours to restore.
    let _ = record
        .owner
        .compare_exchange(owner, found, Ordering::Release, Ordering::Relaxed); // P6
}

pub(crate) fn release_owner(record: &Record, owner: u64) {
    restore_owner(record, owner, 0);
}

/// Who holds a role, or is about to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Holder {
    pub(crate) owner: u64,
    pub(crate) process: Process,
    pub(crate) views: u32,
    capabilities: u32,
}

impl Holder {
    /// Copies a record out. Returns `None` if the role has no owner.
    ///
    /// Uses relaxed loads and fences, since the record may lie in a read-only mapping
    /// (`inspect::load_state`).
    pub(crate) fn read(record: &Record) -> Option<Holder> {
        let owner = record.owner.load(Ordering::Relaxed); // one word; compared again below
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
        // The copied words are the owner's only if the owner is the same before and after.
        let again = record.owner.load(Ordering::Relaxed); // P6
        Some(if complete == owner && again == owner {
            holder
        } else {
            Holder::half_done(owner)
        })
    }

    /// What the owner word alone tells: the process, if it is in our pid namespace, and the low
    /// bits of its start time.
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

    /// The holder's abilities: bits of `Record::capabilities`.
    pub(crate) fn capabilities(&self) -> u32 {
        self.capabilities
    }

    /// Whether the process is alive, as far as the record tells. Does not use the segment's attach
    /// count.
    pub(crate) fn liveness(&self) -> Liveness {
        self.watch().check()
    }

    pub(crate) fn watch(&self) -> Watch {
        // No loss: the field has that many bits.
        let low_bits = process::start_low_bits(self.owner >> 2);
        let only_low_bits = self.process.start == 0 && low_bits != 0;
        Watch::with_start_low_bits(self.process, only_low_bits.then_some(low_bits))
    }
}
