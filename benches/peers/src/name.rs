//! Names for objects that contenders make in the system.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A unique name in /dev/shm. Its objects are removed when the process that made it drops
/// it.
pub(crate) struct Name {
    maker: u32,
    name: String,
}

impl Name {
    pub(crate) fn new() -> Name {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let maker = std::process::id();
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Name {
            maker,
            name: format!("shmpipe-peers-{maker}-{count}"),
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.name
    }

    pub(crate) fn path(&self) -> PathBuf {
        Path::new("/dev/shm").join(&self.name)
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        // A forked child has a copy of the name, and does not own it.
        if self.maker == std::process::id() {
            let all = std::fs::read_dir("/dev/shm")
                .into_iter()
                .flatten()
                .flatten();
            for entry in all {
                // Also removes what a killed child has left: its names begin like this one.
                let name = entry.file_name();
                let name = name.to_string_lossy();
                if name == self.name || name.starts_with(&format!("{}_", self.name)) {
                    let _ = std::fs::remove_file(entry.path());
                    let _ = std::fs::remove_dir_all(entry.path());
                }
            }
        }
    }
}
