//! What the rings of this host are like.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use shmpipe::escape::shown;

use super::{Finding, Level};
use crate::rings::{Seen, Segment};

pub(super) fn stale(segments: &[Segment]) -> Finding {
    let stale = segments.iter().filter(|segment| segment.is_stale());
    let damaged = segments
        .iter()
        .filter(|segment| matches!(segment.seen, Seen::Damaged(_)));
    match stale.count().max(damaged.count()) {
        0 => Finding::ok("stale rings", "none"),
        number => Finding::new(
            Level::Warning,
            "stale rings",
            number.to_string(),
            "dead processes left them, or this build cannot use them; they take memory",
            "`shmpipe ls`, then `shmpipe rm --stale` or `rm --id`",
        ),
    }
}

/// Files that name rings, and that others can replace, write to, or lock for ever.
pub(super) fn files(segments: &[Segment]) -> Finding {
    let paths = segments
        .iter()
        .filter_map(|segment| segment.ring()?.path.clone());
    let unsafe_paths: Vec<String> = paths
        .filter(|path| path.is_absolute() && is_unsafe(path))
        .map(|path| shown(&path).to_string())
        .collect();
    match unsafe_paths.is_empty() {
        true => Finding::ok("files that name rings", "none is open to others"),
        false => Finding::new(
            Level::Warning,
            "files that name rings",
            unsafe_paths.join(", "),
            "others can lock or replace these files, and so keep a ring from being opened",
            "`chmod go-w FILE`, in a folder of yours",
        ),
    }
}

fn is_unsafe(path: &Path) -> bool {
    let writable = |mode: u32| mode & 0o002 != 0;
    let file = fs::metadata(path).is_ok_and(|file| writable(file.permissions().mode()));
    let folder = path.parent().and_then(|folder| fs::metadata(folder).ok());
    let folder = folder.is_some_and(|folder| {
        writable(folder.mode()) && folder.mode() & 0o1000 == 0 // without the sticky bit
    });
    file || folder
}

pub(super) fn modes(segments: &[Segment]) -> Finding {
    let open = segments
        .iter()
        .filter(|segment| segment.ring().is_some() && segment.stat.mode.bits() & 0o006 != 0);
    let ids: Vec<String> = open.map(|segment| segment.id().to_string()).collect();
    match ids.is_empty() {
        true => Finding::ok("modes of rings", "none is open to all users"),
        false => Finding::new(
            Level::Warning,
            "modes of rings",
            format!("segments {}", ids.join(", ")),
            "every user can read these streams, or write to them",
            "use --mode 600, or 660 and a group",
        ),
    }
}
