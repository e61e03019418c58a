//! The file that names a ring: its key, its lock, and its waiter locks. A waiter
//! lock shows processes in two IPC namespaces that they cannot meet.
//!
//! 1. Creating, judging and removing the segment of a path happen under a `flock`
//!    of its file. So two openers never both create, and a segment that an opener
//!    is about to use is not removed. The kernel releases the lock when its holder
//!    dies.
//! 2. A process that waits for its peer holds a *waiter lock*: an open file
//!    description lock, for reading, on one byte of the file. The byte's offset
//!    encodes the project id and the waiter's IPC namespace. If an opener finds no
//!    segment, but a waiter lock of another namespace, the two cannot meet.
//!
//! <https://man7.org/linux/man-pages/man2/flock.2.html>
//! <https://man7.org/linux/man-pages/man2/fcntl_locking.2.html>
#![allow(unsafe_code)] // the only caller of fcntl

use std::fs::{File, TryLockError};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{OpenError, Place};
use crate::escape::explained;
use crate::sys::fork::held::Held;
use crate::sys::process;
use crate::sys::sysv::{FileIdentity, Key, Mode, Project};
use crate::wait::deadline::Deadline;

/// An open file that names a ring.
#[derive(Debug)]
pub(crate) struct KeyFile {
    path: PathBuf,
    /// Must be dropped before the file.
    _held: Held,
    file: File,
    identity: FileIdentity,
    key: Key,
    /// Whether `flock` needs a file that is open for writing. File systems such as
    /// NFS implement `flock` by record locks, which would conflict with a waiter
    /// lock.
    writing: AtomicBool,
}

/// The lock of a path, released on drop.
#[derive(Debug)]
pub(crate) enum PathLock<'a> {
    /// The lock is on the file that was opened first.
    Reading(&'a File),
    /// The lock is on a second file, opened for writing, and is released when that
    /// file is closed. The fields are in drop order.
    Writing(#[allow(dead_code)] Held, #[allow(dead_code)] File), // kept only for their drops
}

/// Times that an interrupted unlock is made again.
const UNLOCKS: u32 = 100;

impl Drop for PathLock<'_> {
    fn drop(&mut self) {
        let PathLock::Reading(file) = self else {
            return;
        };
        // A lock that stays would keep the peer out for as long as this side waits. If unlocking
        // fails for another reason, the lock lasts until the file is closed.
        for _ in 0..UNLOCKS {
            match file.unlock() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                _ => break,
            }
        }
    }
}

impl KeyFile {
    pub(crate) fn open(path: &Path, project: Project) -> Result<KeyFile, OpenError> {
        let unusable = |source| OpenError::Path {
            path: path.to_owned(),
            source: explained(path, source),
        };
        // Non-blocking: opening a FIFO without a writer must not block.
        let file = File::options()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(path)
            .map_err(unusable)?;
        if file.metadata().map_err(unusable)?.is_dir() {
            return Err(OpenError::Directory {
                path: path.to_owned(),
            });
        }
        let identity = FileIdentity::of(&file, project)?;
        Ok(KeyFile {
            path: path.to_owned(),
            _held: Held::new(&file),
            file,
            identity,
            key: identity.key()?,
            writing: AtomicBool::new(false),
        })
    }

    /// Creates the file, empty, if it does not exist.
    pub(crate) fn create_if_missing(path: &Path, mode: Mode) -> Result<(), OpenError> {
        let mut how = File::options();
        let made = how.write(true).create_new(true).mode(mode.bits().into());
        match made.open(path) {
            Err(source) if source.kind() != io::ErrorKind::AlreadyExists => Err(OpenError::Path {
                path: path.to_owned(),
                source: explained(path, source),
            }),
            _ => Ok(()),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn path_bytes(&self) -> &[u8] {
        self.path.as_os_str().as_bytes()
    }

    /// How errors name this file.
    pub(crate) fn place(&self) -> Place {
        Place::file(&self.path, self.identity.project)
    }

    pub(crate) fn identity(&self) -> FileIdentity {
        self.identity
    }

    pub(crate) fn key(&self) -> Key {
        self.key
    }

    /// Whether the path still leads to this file.
    pub(crate) fn is_current(&self) -> bool {
        FileIdentity::at(&self.path, self.identity.project).is_ok_and(|it| it == self.identity)
    }

    /// Takes the lock of the path, waiting until `deadline`.
    pub(crate) fn lock(&self, deadline: &Deadline) -> Result<PathLock<'_>, OpenError> {
        let mut writing: Option<(Held, File)> = None;
        loop {
            let file = writing.as_ref().map_or(&self.file, |(_, file)| file);
            match file.try_lock() {
                Ok(()) => {
                    return Ok(match writing {
                        Some((held, file)) => PathLock::Writing(held, file),
                        None => PathLock::Reading(&self.file),
                    });
                }
                Err(TryLockError::WouldBlock) => {
                    deadline.pause("another process holds the lock of the file (flock)")?;
                }
                Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Interrupted => {
                    deadline.pause("the lock of the path's file was interrupted")?;
                }
                Err(TryLockError::Error(error))
                    if error.raw_os_error() == Some(libc::EBADF) && writing.is_none() =>
                {
                    let file = self.open_to_write();
                    let file = file.map_err(|error| self.unlockable(error))?;
                    writing = Some((Held::new(&file), file));
                    // Relaxed: orders nothing; only this thread reads the flag.
                    self.writing.store(true, Ordering::Relaxed);
                }
                Err(TryLockError::Error(error)) => return Err(self.unlockable(error)),
            }
        }
    }

    /// Opens the same file again, for writing, on file systems whose locks need
    /// that. Nothing is written to the file.
    fn open_to_write(&self) -> io::Result<File> {
        let mut how = File::options();
        how.read(true).write(true).custom_flags(libc::O_NONBLOCK);
        let opened = match how.open(format!("/proc/self/fd/{}", self.file.as_raw_fd())) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => how.open(&self.path), // there is no /proc
            opened => opened,
        };
        let wanting = |what| {
            let kind = io::ErrorKind::PermissionDenied;
            io::Error::new(kind, format!("it has to be open for writing: {what}"))
        };
        let file = opened.map_err(|error| wanting(error.to_string()))?;
        let found = file.metadata()?;
        match (found.dev(), found.ino()) == (self.identity.dev, self.identity.ino) {
            true => Ok(file),
            false => Err(wanting("it was replaced".to_owned())),
        }
    }

    fn unlockable(&self, source: io::Error) -> OpenError {
        OpenError::Locking {
            path: self.path.clone(),
            source,
        }
    }

    /// Takes the waiter lock, which is released when the file is closed at the
    /// latest. On file systems without such locks nothing happens.
    pub(crate) fn lock_as_waiter(&self) {
        // Relaxed: orders nothing; this thread set the flag.
        if self.writing.load(Ordering::Relaxed) {
            return;
        }
        let mut lock = self.waiter_lock(own_namespace(), 1);
        lock.l_type = libc::F_RDLCK as _;
        // SAFETY: F_OFD_SETLK reads a `flock`, which outlives the call.
        unsafe { libc::fcntl(self.file.as_raw_fd(), libc::F_OFD_SETLK, &raw mut lock) };
    }

    /// Releases the waiter lock.
    pub(crate) fn unlock_as_waiter(&self) {
        let mut lock = self.waiter_lock(own_namespace(), 1);
        lock.l_type = libc::F_UNLCK as _;
        // SAFETY: F_OFD_SETLK reads a `flock`, which outlives the call.
        unsafe { libc::fcntl(self.file.as_raw_fd(), libc::F_OFD_SETLK, &raw mut lock) };
    }

    /// Whether a process of another IPC namespace waits here.
    pub(crate) fn waited_for_elsewhere(&self) -> bool {
        let own = own_namespace();
        own != 0 && (self.has_waiter(0, own) || self.has_waiter(own + 1, u64::from(u32::MAX) - own))
    }

    /// Whether a process of the `count` namespaces from `first` on holds its waiter
    /// lock.
    fn has_waiter(&self, first: u64, count: u64) -> bool {
        if count == 0 {
            return false;
        }
        let mut lock = self.waiter_lock(first, count);
        lock.l_type = libc::F_WRLCK as _; // conflicts with every waiter lock
        // SAFETY: F_OFD_GETLK reads and writes a `flock`, which outlives the
        // call.
        let asked = unsafe { libc::fcntl(self.file.as_raw_fd(), libc::F_OFD_GETLK, &raw mut lock) };
        asked == 0 && lock.l_type != libc::F_UNLCK as libc::c_short
    }

    /// A waiter lock for `count` namespaces from `first` on, with this project id.
    fn waiter_lock(&self, first: u64, count: u64) -> libc::flock {
        // SAFETY: `flock` is plain integers, for which zero is valid.
        let mut lock: libc::flock = unsafe { std::mem::zeroed() };
        lock.l_whence = libc::SEEK_SET as _;
        // At most 2^40: fits in the signed offset.
        lock.l_start = (u64::from(self.identity.project.get()) << 32 | first) as _;
        lock.l_len = count as _;
        lock
    }
}

/// The inode number of this process's IPC namespace; 0 when unknown.
fn own_namespace() -> u64 {
    u64::from(process::namespace("ipc"))
}
