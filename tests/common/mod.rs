//! What the tests share: names that go with the test, processes that go with
//! the test, and a stream that tells where each byte belongs.
#![allow(dead_code)] // each test binary uses a part
#![allow(unsafe_code)] // fork, kill and wait

pub(crate) mod filter;
#[cfg(feature = "kill-points")]
pub(crate) mod kill;
pub(crate) mod memory;
pub(crate) mod offsets;

use std::collections::hash_map::RandomState;
use std::fs::File;
use std::hash::BuildHasher;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use shmpipe::sysv::{self, Key, Mode, Project, SegmentId};
use shmpipe::{OpenError, Options};

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
        let name = format!("shmpipe-test-{:016x}", unique());
        let path = folder.as_ref().join(name);
        File::create_new(&path).unwrap();
        TempPath(path)
    }

    /// The key of this path, with project id 1.
    pub(crate) fn key(&self) -> Key {
        Key::from_path(&self.0, Project::default()).unwrap()
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
        let _ = shmpipe::remove_path(&self.0, 1, true);
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Runs `body` in a process of its own: this test binary again, told to run
/// the test `name` only, on its first and only thread. A test that forks runs
/// like this: a fork elsewhere in the process would copy its attachments, and
/// its own would copy other threads' locks.
pub(crate) fn alone(name: &str, body: impl FnOnce()) {
    const MARK: &str = "SHMPIPE_TEST_ALONE";
    if std::env::var_os(MARK).is_some_and(|value| value == name) {
        // SAFETY: a number. A test that hangs ends by SIGALRM.
        unsafe { libc::alarm(hang_limit()) };
        return body();
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(MARK, name)
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    print!("{stdout}");
    assert!(output.status.success(), "{}\n{stdout}", output.status);
    assert!(stdout.contains("1 passed"), "no test is named {name}");
}

/// Seconds that a test in a process of its own may take: far more than it
/// does, and in proportion to what was asked for.
fn hang_limit() -> u32 {
    let asked = |name| asked_for(name).unwrap_or(0) as u32;
    600 + asked("SHMPIPE_KILLS") / 20
        + asked("SHMPIPE_PARKS") / 5_000
        + asked("SHMPIPE_FORKS") / 50
        + asked("SHMPIPE_HOSTILE") * 4
        + asked("SHMPIPE_FAULTS") / 10
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
    options.timeout(PATIENCE);
    options
}

/// Opens each end of `path` in turn.
pub(crate) fn open_each(options: &Options, path: &Path) -> [Result<(), OpenError>; 2] {
    [
        options.producer(path).map(drop),
        options.consumer(path).map(drop),
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

const PART: &str = "SHMPIPE_TEST_PART";

/// What [`Exec`] told this process to do, if it is one.
pub(crate) fn part() -> Option<String> {
    std::env::var(PART).ok()
}

/// A child started by exec, killed and reaped with the test if it has not
/// ended: this test binary again, told to run the test `name` only.
#[derive(Debug)]
pub(crate) struct Exec(Child);

impl Exec {
    /// The child finds `part` in [`part`].
    pub(crate) fn new(name: &str, part: &str) -> Exec {
        Exec(Exec::command(name, part).spawn().unwrap())
    }

    /// What starts such a child.
    pub(crate) fn command(name: &str, part: &str) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", name, "--nocapture", "--test-threads=1"])
            .env(PART, part)
            .stdout(Stdio::null());
        command
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn kill(&mut self) {
        self.0.kill().unwrap();
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.0.wait().unwrap()
    }
}

impl From<Child> for Exec {
    fn from(child: Child) -> Exec {
        Exec(child)
    }
}

impl Drop for Exec {
    fn drop(&mut self) {
        // Most have ended and are reaped.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
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

/// Moves this process to an IPC namespace of its own, where its segments and
/// the limits on them are no one else's. Says whether that could be had.
pub(crate) fn move_to_own_ipc_namespace() -> bool {
    [libc::CLONE_NEWIPC, libc::CLONE_NEWUSER | libc::CLONE_NEWIPC]
        .into_iter()
        // SAFETY: an integer.
        .any(|flags| unsafe { libc::unshare(flags) } == 0)
}

pub(crate) fn is_root() -> bool {
    // SAFETY: no arguments.
    unsafe { libc::geteuid() == 0 }
}

/// How a forked child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Exit(i32),
    Signal(i32),
}

/// A forked child, killed and reaped with the test if it has not ended.
#[derive(Debug)]
pub(crate) struct Fork {
    pid: libc::pid_t,
    end: Option<End>,
}

impl Fork {
    /// The child runs `child` and exits: 0 when it returns, 101 when it
    /// panics. The parent must have one thread: see [`alone`].
    pub(crate) fn new(child: impl FnOnce()) -> Fork {
        // SAFETY: the process has one thread, so the child may do anything.
        let pid = unsafe { libc::fork() };
        assert!(pid >= 0, "fork: {}", io::Error::last_os_error());
        if pid == 0 {
            // SAFETY: integers only. Goes with the test, even one that is
            // killed.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child));
            exit_now(if done.is_ok() { 0 } else { 101 });
        }
        Fork { pid, end: None }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid as u32
    }

    pub(crate) fn signal(&self, signal: i32) {
        assert_eq!(self.end, None, "it has ended");
        // SAFETY: the pid is a child that is not yet reaped.
        assert_eq!(unsafe { libc::kill(self.pid, signal) }, 0);
    }

    pub(crate) fn kill(&self) {
        self.signal(libc::SIGKILL);
    }

    /// Waits for the end of the child.
    pub(crate) fn wait(&mut self) -> End {
        self.reap(0).expect("it has ended")
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.reap(libc::WNOHANG).is_none()
    }

    fn reap(&mut self, options: i32) -> Option<End> {
        if self.end.is_some() {
            return self.end;
        }
        let mut status = 0;
        loop {
            // SAFETY: the pid is a child that is not yet reaped; `status` is
            // an int.
            let pid = unsafe { libc::waitpid(self.pid, &raw mut status, options) };
            if pid == -1 && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted {
                continue;
            }
            assert!(pid >= 0, "waitpid: {}", io::Error::last_os_error());
            if pid == self.pid {
                self.end = Some(if libc::WIFEXITED(status) {
                    End::Exit(libc::WEXITSTATUS(status))
                } else {
                    End::Signal(libc::WTERMSIG(status))
                });
            }
            return self.end;
        }
    }
}

impl Drop for Fork {
    fn drop(&mut self) {
        if self.reap(libc::WNOHANG).is_none() {
            self.kill();
            self.reap(0);
        }
    }
}

/// Ends this process without running anything more of it.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: an integer.
    unsafe { libc::_exit(code) }
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
