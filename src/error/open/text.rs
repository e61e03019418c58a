//! The messages of [`OpenError`]. `fmt` is longer than other functions because it is
//! a table of messages.

use std::fmt;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::super::{Bytes, CANCELLED, Incompatible, Span};
use super::OpenError;
use crate::escape::shown;

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(at) = self.place() {
            at.fmt(f)?;
        }
        match self {
            OpenError::Path { path, source } => OpenError::fmt_path(f, path, source),
            OpenError::Locking { path, source } => write!(
                f,
                "{}: its file system cannot lock it (flock: {source}): \
                 use a file of another file system",
                shown(path)
            ),
            OpenError::Directory { path } => write!(
                f,
                "{}: is a directory, and a ring is named by a file",
                shown(path)
            ),
            OpenError::Key(error) => error.fmt(f),
            OpenError::Capacity { asked } => write!(
                f,
                "a capacity of {} is not possible: at least 1, and at most 2^61 \
                 (Options::capacity)",
                Bytes(*asked)
            ),
            OpenError::Mode { asked } => write!(
                f,
                "mode {asked:04o} is not possible: nine permission bits, with 0600 among them \
                 (Options::mode)"
            ),
            OpenError::CapacityMismatch { asked, found, .. } => write!(
                f,
                "the ring that is there has a capacity of {}, and {asked} were asked for: \
                 ask for the same capacity, or for none (Options::capacity, --capacity)",
                Bytes(*found)
            ),
            OpenError::LifeCycleMismatch { persistent, .. } => {
                let (found, asked) = match persistent {
                    true => ("persists", "one that does not"),
                    false => ("does not persist", "one that does"),
                };
                write!(
                    f,
                    "the ring that is there {found}, and {asked} was asked for: \
                     both sides must ask for the same (Options::persistent, --persist)"
                )
            }
            OpenError::NoRing { path } => write!(f, "no ring at {}", shown(path)),
            OpenError::RoleTaken { role, pid, .. } => {
                write!(f, "there is a {role} already: ")?;
                match pid {
                    0 => f.write_str("a process that cannot be named from here")?,
                    pid => write!(f, "process {pid}")?,
                }
                write!(
                    f,
                    "; take the {}'s end, or wait until it has left",
                    role.peer()
                )
            }
            OpenError::TooManyEnds { unread, .. } => write!(
                f,
                "the ends of {unread} streams wait for a consumer: there is no place for another \
                 stream until one of them is read"
            ),
            OpenError::NotARing { at, id, reason } => {
                write!(f, "segment {id} is not usable: {reason}")?;
                match reason {
                    Incompatible::NoMagic | Incompatible::TooSmall { .. } => {
                        f.write_str(at.advice())
                    }
                    _ => Ok(()),
                }
            }
            OpenError::KeyCollision {
                id,
                owner,
                earlier: Some(age),
                ..
            } => write!(
                f,
                "segment {id} is the ring of an earlier file with the same inode number \
                 (device {}, inode {}), made {} ago: if nobody needs what is in it, remove it \
                 (shmpipe::remove, shmpipe rm --id {id}), or use another project id \
                 (Options::project, --project)",
                owner.0,
                owner.1,
                Age(*age)
            ),
            OpenError::KeyCollision {
                id, owner, asked, ..
            } => write!(
                f,
                "segment {id} has the same key but belongs to another file \
                 (device {}, inode {}; asked for device {}, inode {}): use another project id \
                 (Options::project, --project)",
                owner.0, owner.1, asked.0, asked.1
            ),
            OpenError::Untrusted {
                at,
                id,
                uid,
                mode,
                trusted,
                most,
            } => {
                write!(f, "segment {id} ")?;
                OpenError::fmt_untrusted(f, (*uid, *mode), trusted, *most)?;
                f.write_str(at.advice())
            }
            OpenError::Removed { id, .. } => {
                write!(f, "there is no segment {id}: it was removed, or never was")
            }
            OpenError::FileGone { at } => {
                f.write_str("the file was deleted or replaced while ")?;
                match at.role() {
                    Some(role) => write!(f, "the {} was waited for", role.peer())?,
                    None => f.write_str("the other end was waited for")?,
                }
                f.write_str(
                    ", so nobody could find the ring any more: keep the file, and open again",
                )
            }
            OpenError::OtherNamespace { path } => write!(
                f,
                "{}: a process that waits there cannot be seen from here: \
                 it is in another IPC namespace (another container?), \
                 and both ends must be opened in one",
                shown(path)
            ),
            OpenError::TimedOut { after, what, .. } => {
                write!(f, "timed out {}: {what}", Span(*after))
            }
            OpenError::CannotPersist => f.write_str(
                "kernel.shm_rmid_forced is 1 (/proc/sys/kernel/shm_rmid_forced), so that nothing \
                 can persist: set it to 0, or open without Options::persistent (--persist)",
            ),
            OpenError::Spawn { program, source } => {
                write!(f, "cannot start {}: {source}", shown(program))
            }
            OpenError::NoSegment => f.write_str(
                "the ring is in the caller's memory, which no child can attach by id: \
                 hand over a ring that has a segment (Options::create_anonymous)",
            ),
            OpenError::Memory(error) => error.fmt(f),
            OpenError::NotHandedOver => f.write_str(
                "no parent has handed a ring to this process, or it was taken before: \
                 SHMPIPE_RING is not set (Ring::spawn_consumer, spawn_duplex and the like set it)",
            ),
            OpenError::NoSuchEnd { name } => write!(
                f,
                "no parent has handed an end named `{}` to this process, or it was taken before",
                shown(name)
            ),
            OpenError::EndName { name } => write!(
                f,
                "the name {} is not possible for an end: 1 to 64 letters, digits, `_`, `-` and `.`, \
                 once for each role",
                shown(name)
            ),
            OpenError::BadHandover { value } => write!(
                f,
                "SHMPIPE_RING says `{}`, not the ids, nonces and roles of rings",
                shown(value)
            ),
            OpenError::WrongRole { given, asked } => write!(
                f,
                "the parent has handed the {given}'s end to this process, not the {asked}'s"
            ),
            OpenError::Cancelled => f.write_str(CANCELLED),
            OpenError::Corrupted(corruption) => corruption.fmt(f),
            OpenError::System(error) => error.fmt(f),
        }
    }
}

impl OpenError {
    /// The message of [`OpenError::Path`].
    fn fmt_path(f: &mut fmt::Formatter<'_>, path: &Path, source: &io::Error) -> fmt::Result {
        write!(f, "{}: {source}", shown(path))?;
        // Otherwise the source says what is missing.
        if source.raw_os_error() == Some(libc::ENOENT) {
            f.write_str(
                "; the file only names the ring, but it must be there: make it, empty will do",
            )?;
        }
        Ok(())
    }

    /// The rest of the message of [`OpenError::Untrusted`]: why the segment is not trusted.
    fn fmt_untrusted(
        f: &mut fmt::Formatter<'_>,
        (uid, mode): (Option<u32>, Option<u32>),
        trusted: &[u32],
        most: u32,
    ) -> fmt::Result {
        match (uid, mode) {
            (None, _) => write!(f, "belongs to another user, who lets nobody look at it"),
            (Some(uid), _) if !trusted.contains(&uid) => {
                write!(f, "belongs to user {uid}, and trusted are segments of user")?;
                for (at, user) in trusted.iter().enumerate() {
                    write!(f, "{} {user}", if at == 0 { "" } else { "," })?;
                }
                write!(
                    f,
                    " only (Options::owner({uid}) or --owner {uid} trusts it)"
                )
            }
            (_, Some(mode)) if mode & !most != 0 => write!(
                f,
                "has mode {mode:04o}, and no more than {most:04o} is trusted \
                 (Options::mode(0o{mode:o}) or --mode {mode:o} trusts it)"
            ),
            (Some(uid), Some(mode)) => {
                write!(
                    f,
                    "of user {uid} has mode {mode:04o}, which does not let this process look"
                )
            }
            (Some(uid), None) => write!(f, "of user {uid} does not let this process look"),
        }
    }
}

/// A duration in its largest whole unit.
struct Age(Duration);

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_secs() {
            seconds @ ..60 => write!(f, "{seconds} s"),
            seconds @ ..3600 => write!(f, "{} min", seconds / 60),
            seconds @ ..86400 => write!(f, "{} h", seconds / 3600),
            seconds => write!(f, "{} days", seconds / 86400),
        }
    }
}
