//! What the tests share: names that go with the test, processes that go with
//! the test, and a stream that tells where each byte belongs.
#![allow(dead_code)] // each test binary uses a part
#![allow(unsafe_code)] // words of segments

pub(crate) mod filter;
pub(crate) mod forged;
#[cfg(feature = "__failpoints")]
pub(crate) mod kill;
pub(crate) mod maps;
pub(crate) mod memory;
mod not_run;
pub(crate) mod offsets;
pub(crate) mod pin;
mod process;
#[cfg(feature = "__failpoints")]
pub(crate) mod random;
mod waiting;

use std::collections::hash_map::RandomState;
use std::fs::File;
use std::hash::BuildHasher;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use shmpipe::sysv::{self, Key, Mode, Project, SegmentId, Stat};
use shmpipe::{Broken, Consumer, OpenError, Options, Producer, RemoveError};

#[allow(unused_imports)] // each test binary uses a part
pub(crate) use not_run::{case_not_run, not_run};
#[allow(unused_imports)] // each test binary uses a part
pub(crate) use process::{
    End, Exec, Fork, alone, exit_now, is_alone, kill_self, move_to_own_ipc_namespace, part, unshare,
};
#[allow(unused_imports)] // each test binary uses a part
pub(crate) use waiting::{
    Task, Waiting, for_some_time, is_locked, is_waited_for, once_asleep, once_waiting, sleeps,
};

/// For what takes milliseconds, unless something hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A number no other test has.
pub(crate) fn unique() -> u64 {
    // A forked process goes on with the states of its parent.
    RandomState::new().hash_one(std::process::id())
}

/// An empty file to name a ring by. With the test, even one that panics, go
/// the file and whatever ring it leads to.
#[derive(Debug)]
pub(crate) struct TempPath(PathBuf);

impl TempPath {
    pub(crate) fn new() -> TempPath {
        TempPath::new_in(std::env::temp_dir())
    }

    pub(crate) fn new_in(folder: impl AsRef<Path>) -> TempPath {
        let mut taken = Vec::new();
        let path = loop {
            let name = format!("shmpipe-test-{:016x}", unique());
            let path = folder.as_ref().join(name);
            File::create_new(&path).unwrap();
            // A key has 16 bits of the inode, so a test beside this one may have the same.
            let key = Key::from_path(&path, Project::default()).unwrap();
            if sysv::open(key).is_err() {
                break path;
            }
            taken.push(path); // stays until there is another, which so gets another inode
        };
        taken
            .iter()
            .for_each(|path| std::fs::remove_file(path).unwrap());
        TempPath(path)
    }

    /// The key of this path, with project id 1.
    pub(crate) fn key(&self) -> Key {
        Key::from_path(&self.0, Project::default()).unwrap()
    }

    /// Removes the file and calls `work` while its inode, and so the key, is
    /// still nobody else's: a test beside this one may make a file.
    pub(crate) fn remove_file_while<T>(&self, work: impl FnOnce() -> T) -> T {
        let _inode = File::open(&self.0).unwrap();
        std::fs::remove_file(&self.0).unwrap();
        work()
    }

    /// The segment that is found by this path.
    pub(crate) fn segment(&self) -> Option<SegmentId> {
        sysv::open(self.key()).ok()
    }

    /// Whether a segment is found by this path.
    pub(crate) fn leads_to_a_segment(&self) -> bool {
        self.segment().is_some()
    }
}

impl std::ops::Deref for TempPath {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl AsRef<Path> for TempPath {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

impl AsRef<std::ffi::OsStr> for TempPath {
    fn as_ref(&self) -> &std::ffi::OsStr {
        self.0.as_os_str()
    }
}

impl Drop for TempPath {
    fn drop(&mut self) {
        // Most tests leave no ring behind, and some removed the file.
        let _ = shmpipe::Options::new().force_remove(&self.0);
        let _ = std::fs::remove_file(&self.0);
    }
}

/// The number in an environment variable, by which a test is made longer.
pub(crate) fn asked_for(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(
        value
            .parse()
            .unwrap_or_else(|_| panic!("{name}={value} is no number")),
    )
}

/// Defaults, but for a limit that turns a hang into an error.
pub(crate) fn options() -> Options {
    let mut options = Options::new();
    options.timeout(Some(PATIENCE));
    options
}

/// Both ends of an anonymous ring of so many bytes.
pub(crate) fn split(capacity: usize) -> (Producer, Consumer) {
    let ring = options().capacity(capacity).create_anonymous().unwrap();
    ring.split().unwrap()
}

/// Why a stream is broken, as an error says.
#[track_caller]
pub(crate) fn broken(error: &io::Error) -> Broken {
    let broken = error.get_ref().and_then(|inner| inner.downcast_ref());
    Broken::clone(broken.unwrap_or_else(|| panic!("not broken: {error}")))
}

/// Opens each end of `path` in turn.
pub(crate) fn open_each(options: &Options, path: &Path) -> [Result<(), OpenError>; 2] {
    [
        options.open_producer(path).map(drop),
        options.open_consumer(path).map(drop),
    ]
}

/// Bytes of the smallest ring, and before any ring.
pub(crate) fn page() -> usize {
    sysv::page_size().max(4096)
}

/// Waits until `is_so` says yes.
#[track_caller]
pub(crate) fn until(mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "it does not come true");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Waits until the segment is gone. Somebody who looks at all rings has it attached for a moment.
#[track_caller]
pub(crate) fn until_gone(id: SegmentId) {
    until(|| sysv::stat(id).is_err());
}

/// Removes a ring that nobody uses, as `remove` does. Somebody who looks at all rings has it
/// attached for a moment.
#[track_caller]
pub(crate) fn remove_unused(mut remove: impl FnMut() -> Result<(), RemoveError>) {
    until(|| match remove() {
        Ok(()) => true,
        Err(RemoveError::InUse { .. }) => false,
        Err(error) => panic!("{error}"),
    });
}

/// A segment of the test's own making, which goes with the test.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) id: SegmentId,
}

impl Segment {
    pub(crate) fn new(key: Option<Key>, size: usize, mode: u32) -> Segment {
        let id = sysv::create(key, size, Mode::new(mode).unwrap()).unwrap();
        Segment { id }
    }

    /// As `new`, by a process that has ended since. See [`Fork::new`].
    pub(crate) fn by_the_dead(key: Key, size: usize, mode: u32) -> Segment {
        let mut creator = Fork::new(|| {
            sysv::create(Some(key), size, Mode::new(mode).unwrap()).unwrap();
        });
        assert_eq!(creator.wait(), End::Exit(0));
        let id = sysv::open(key).unwrap();
        Segment { id }
    }

    /// Whichever of a great many has this id, if one has: in an IPC namespace
    /// that has made few.
    pub(crate) fn with_id(id: SegmentId, size: usize, mode: u32) -> Option<Segment> {
        let mut tries = (0..10_000).map(|_| Segment::new(None, size, mode));
        tries.find(|segment| segment.id == id)
    }

    pub(crate) fn stat(&self) -> Stat {
        sysv::stat(self.id).unwrap()
    }

    #[track_caller]
    pub(crate) fn wait_for_attached(&self, expected: u64) {
        until(|| self.stat().attached == expected);
    }

    pub(crate) fn is_there(&self) -> bool {
        sysv::stat(self.id).is_ok_and(|stat| !stat.marked_for_removal)
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        // Some tests have it removed.
        let _ = sysv::remove(self.id);
    }
}

/// The bytes of a segment, seen through a read-only attachment.
pub(crate) fn bytes_of(id: SegmentId) -> Vec<u8> {
    let looked = sysv::attach_read_only(id).unwrap();
    (0..looked.len())
        // SAFETY: inside the attachment; others may write the byte meanwhile,
        // so it is read as a volatile one.
        .map(|offset| unsafe { looked.as_ptr().wrapping_add(offset).read_volatile() })
        .collect()
}

/// Overwrites bytes of a segment.
pub(crate) fn poke(id: SegmentId, offset: usize, bytes: &[u8]) {
    let attached = sysv::attach(id).unwrap();
    assert!(offset + bytes.len() <= attached.len());
    for (place, &byte) in (offset..).zip(bytes) {
        // SAFETY: inside the attachment, and volatile for those who look.
        unsafe { attached.as_ptr().wrapping_add(place).write_volatile(byte) };
    }
}

pub(crate) fn is_root() -> bool {
    // SAFETY: no arguments.
    unsafe { libc::geteuid() == 0 }
}

/// Eight bytes of the stream of `seed`: those from position `8 * index`.
fn word_at(seed: u64, index: u64) -> [u8; 8] {
    // The finalizer of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
    let mut word = index.wrapping_add(seed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    (word ^ word >> 31).to_le_bytes()
}

/// The byte at `position` of the stream of `seed`: bytes out of place, missing
/// or repeated show, as do laps of a ring, for the stream repeats only after
/// 2^64 bytes.
pub(crate) fn byte_at(seed: u64, position: u64) -> u8 {
    word_at(seed, position / 8)[(position % 8) as usize]
}

/// `len` bytes of the stream of `seed` from `position`.
pub(crate) fn stream(seed: u64, position: u64, len: usize) -> Vec<u8> {
    let skipped = (position % 8) as usize;
    let mut bytes = Vec::with_capacity(len + 16);
    let mut index = position / 8;
    while bytes.len() < len + skipped {
        bytes.extend_from_slice(&word_at(seed, index));
        index = (index + 1) % (1 << 61); // positions wrap at 2^64
    }
    bytes.drain(..skipped);
    bytes.truncate(len);
    bytes
}

/// Panics unless `bytes` are those of the stream of `seed` from `position`.
#[track_caller]
pub(crate) fn check(seed: u64, position: u64, bytes: &[u8]) {
    if bytes == stream(seed, position, bytes.len()) {
        return;
    }
    for (offset, &byte) in (0..).zip(bytes) {
        let position = position.wrapping_add(offset);
        assert_eq!(
            byte,
            byte_at(seed, position),
            "byte {position} of the stream"
        );
    }
}
