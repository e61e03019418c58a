//! What leads to a ring: a file or a key.

use super::classify::Requirements;
use super::config::OpenConfig;
use super::keyfile::KeyFile;
use crate::error::Place;
use crate::sys::sysv::Key;

/// What leads to a ring.
#[derive(Debug)]
pub(crate) enum Name {
    File(KeyFile),
    Key(Key),
}

impl Name {
    pub(super) fn key(&self) -> Key {
        match self {
            Name::File(file) => file.key(),
            Name::Key(key) => *key,
        }
    }

    pub(crate) fn file(&self) -> Option<&KeyFile> {
        match self {
            Name::File(file) => Some(file),
            Name::Key(_) => None,
        }
    }

    /// How errors name this ring.
    pub(crate) fn place(&self) -> Place {
        match self {
            Name::File(file) => file.place(),
            Name::Key(key) => Place::key(*key),
        }
    }

    pub(super) fn required(&self, config: &OpenConfig) -> Requirements {
        let file = self.file().map(KeyFile::identity);
        Requirements::by_key(config.mode, &config.owners, self.key(), file)
    }
}
