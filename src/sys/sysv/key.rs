//! Keys, and how a path becomes one.
//!
//! A key is 32 bits, made of a file's device and inode number and a project id. Most bits of the
//! numbers are dropped, so two files can share a key. So a key finds a segment, but does not prove
//! that the segment belongs to the file. [`FileIdentity`] keeps the full numbers for that.

#![deny(unsafe_code)]

use std::fmt;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use crate::escape::shown;

/// The project id of `ftok`, which tells rings of one path apart. 1 to 255; the default is 1.
///
/// `ftok` uses the low 8 bits and leaves 0 undefined. Other values are refused here, so that 1 and
/// 257 cannot mean the same ring.
///
/// # Examples
///
/// ```
/// use shmpipe::sysv::Project;
///
/// assert_eq!(Project::default(), Project::new(1)?);
/// assert!(Project::new(257).is_err());
/// # Ok::<(), shmpipe::sysv::KeyError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Project(u8);

impl Project {
    /// Checks a project id.
    ///
    /// # Errors
    ///
    /// [`KeyError::Project`] for 0 and for more than 255.
    pub fn new(value: u32) -> Result<Self, KeyError> {
        match u8::try_from(value) {
            Ok(value @ 1..) => Ok(Self(value)),
            _ => Err(KeyError::Project { value }),
        }
    }

    /// The number, 1 to 255.
    pub fn get(self) -> u8 {
        self.0
    }
}

impl Default for Project {
    fn default() -> Self {
        Self(1)
    }
}

impl fmt::Display for Project {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A file by its full device and inode number, together with a project id.
///
/// # Examples
///
/// ```
/// use std::path::Path;
/// use shmpipe::sysv::{FileIdentity, Project};
///
/// let root = FileIdentity::at(Path::new("/"), Project::default())?;
/// assert_eq!(root.project.get(), 1);
/// assert_ne!(root.ino, 0);
/// # Ok::<(), shmpipe::sysv::KeyError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileIdentity {
    /// `st_dev`.
    pub dev: u64,
    /// `st_ino`.
    pub ino: u64,
    /// The project id.
    pub project: Project,
    /// Creation time of the file, in nanoseconds since 1970 (`stx_btime` of statx(2)). 0 where the
    /// file system does not record it. Tells a file from an earlier one with the same inode number.
    pub birth: u64,
}

impl FileIdentity {
    /// `int fstat(int fd, struct stat *statbuf);`: the identity of an open file.
    ///
    /// # Errors
    ///
    /// [`KeyError::File`] if `fstat` fails.
    ///
    /// # Examples
    ///
    /// ```
    /// use shmpipe::sysv::{FileIdentity, Key, Project};
    /// use std::{fs::File, path::Path};
    ///
    /// let project = Project::default();
    /// let identity = FileIdentity::of(&File::open("/")?, project)?;
    /// assert_eq!(identity.key()?, Key::from_path(Path::new("/"), project)?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "fstat")]
    pub fn of(file: &File, project: Project) -> Result<Self, KeyError> {
        match file.metadata() {
            Ok(metadata) => Ok(Self::from_metadata(&metadata, project)),
            Err(source) => Err(KeyError::File { source }),
        }
    }

    /// `int stat(const char *path, struct stat *statbuf);`: the identity of the file at `path`,
    /// symbolic links followed.
    ///
    /// # Errors
    ///
    /// [`KeyError::Path`] with the path if `stat` fails.
    #[doc(alias = "stat")]
    pub fn at(path: &Path, project: Project) -> Result<Self, KeyError> {
        match fs::metadata(path) {
            Ok(metadata) => Ok(Self::from_metadata(&metadata, project)),
            Err(source) => Err(KeyError::Path {
                path: path.to_owned(),
                source,
            }),
        }
    }

    /// The key that `ftok` makes of these numbers: `project << 24 | (dev & 0xff) << 16 | (ino &
    /// 0xffff)`.
    ///
    /// # Errors
    ///
    /// [`KeyError::MinusOne`] if that is -1.
    ///
    /// # Examples
    ///
    /// ```
    /// use shmpipe::sysv::{FileIdentity, Project};
    ///
    /// let file = FileIdentity { dev: 0xfe01, ino: 0x2abcd, project: Project::new(7)?, birth: 0 };
    /// assert_eq!(file.key()?.raw(), 0x0701abcd);
    /// # Ok::<(), shmpipe::sysv::KeyError>(())
    /// ```
    #[doc(alias = "ftok")]
    pub fn key(&self) -> Result<Key, KeyError> {
        let project = u32::from(self.project.get()) << 24;
        let dev = ((self.dev & 0xff) as u32) << 16;
        let ino = (self.ino & 0xffff) as u32;
        Key::from_raw((project | dev | ino).cast_signed())
    }

    fn from_metadata(metadata: &Metadata, project: Project) -> Self {
        let birth = metadata
            .created()
            .ok()
            .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
            .and_then(|age| u64::try_from(age.as_nanos()).ok());
        Self {
            dev: metadata.dev(),
            ino: metadata.ino(),
            project,
            birth: birth.unwrap_or(0),
        }
    }
}

/// The key of a segment: any `key_t` but 0 and -1.
///
/// # Examples
///
/// ```
/// use shmpipe::sysv::Key;
///
/// let key = Key::from_raw(0x1234)?;
/// assert_eq!(key.raw(), 0x1234);
/// # Ok::<(), shmpipe::sysv::KeyError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(i32);

impl Key {
    /// Checks a raw key.
    ///
    /// # Errors
    ///
    /// - [`KeyError::Private`] for 0, which is `IPC_PRIVATE`: every use of it makes a new segment.
    /// - [`KeyError::MinusOne`] for -1.
    ///
    /// # Examples
    ///
    /// ```
    /// use shmpipe::sysv::Key;
    ///
    /// assert_eq!(Key::from_raw(0x1234)?.to_string(), "0x00001234");
    /// assert!(Key::from_raw(0).is_err());
    /// # Ok::<(), shmpipe::sysv::KeyError>(())
    /// ```
    pub fn from_raw(raw: i32) -> Result<Self, KeyError> {
        match raw {
            libc::IPC_PRIVATE => Err(KeyError::Private),
            -1 => Err(KeyError::MinusOne),
            _ => Ok(Self(raw)),
        }
    }

    /// `key_t ftok(const char *pathname, int proj_id);`
    ///
    /// The key of the file at `path`, equal to the result of C's `ftok`. Any kind of file will do.
    /// The key belongs to the inode: a file that is replaced, rather than rewritten, gets another
    /// key.
    ///
    /// See [ftok(3)](https://man7.org/linux/man-pages/man3/ftok.3.html).
    ///
    /// # Errors
    ///
    /// - [`KeyError::Path`] if there is no such file, or it cannot be reached.
    /// - [`KeyError::MinusOne`] if the key would be -1.
    ///
    /// # Examples
    ///
    /// ```
    /// use shmpipe::sysv::{Key, Project};
    /// use std::path::Path;
    ///
    /// let key = Key::from_path(Path::new("/"), Project::new(7)?)?;
    /// assert_eq!(key.raw() >> 24, 7);
    /// # Ok::<(), shmpipe::sysv::KeyError>(())
    /// ```
    #[doc(alias = "ftok")]
    pub fn from_path(path: &Path, project: Project) -> Result<Self, KeyError> {
        FileIdentity::at(path, project)?.key()
    }

    /// The `key_t`.
    pub fn raw(self) -> i32 {
        self.0
    }
}

/// Formatted as `ipcs` shows it: `0x0701abcd`.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#010x}", self.0)
    }
}

/// Why a key cannot be made.
///
/// # Examples
///
/// ```
/// use std::io;
/// use shmpipe::sysv::{Key, KeyError};
///
/// let error = Key::from_raw(0).unwrap_err();
/// assert!(matches!(error, KeyError::Private));
/// assert_eq!(io::Error::from(error).kind(), io::ErrorKind::InvalidInput);
/// ```
#[non_exhaustive]
#[derive(Debug)]
pub enum KeyError {
    /// The project id is not in 1 to 255.
    #[non_exhaustive]
    Project {
        /// The number given.
        value: u32,
    },
    /// The file at this path could not be examined.
    #[non_exhaustive]
    Path {
        /// The path given.
        path: PathBuf,
        /// The kernel's error.
        source: io::Error,
    },
    /// An open file could not be examined.
    #[non_exhaustive]
    File {
        /// The kernel's error.
        source: io::Error,
    },
    /// The key is 0, `IPC_PRIVATE`, which never finds a segment.
    Private,
    /// The key is -1. C's `ftok` returns -1 when it fails, so unrelated programs could share it.
    MinusOne,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Project { value } => write!(f, "project id {value} is not in 1 to 255"),
            Self::Path { path, source } => {
                write!(f, "no key for {}: {source}", shown(path))
            }
            Self::File { source } => write!(f, "no key for an open file: {source}"),
            Self::Private => {
                f.write_str("key 0 is refused: it is IPC_PRIVATE, by which nobody finds a segment")
            }
            Self::MinusOne => f.write_str(
                "key -1 is refused: ftok returns -1 when it fails, so strangers who do not check \
                 meet on it; choose another project id",
            ),
        }
    }
}

impl std::error::Error for KeyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Path { source, .. } | Self::File { source } => Some(source),
            Self::Project { .. } | Self::Private | Self::MinusOne => None,
        }
    }
}

impl KeyError {
    fn io_kind(&self) -> io::ErrorKind {
        match self {
            Self::Path { source, .. } | Self::File { source } => source.kind(),
            Self::Project { .. } | Self::Private | Self::MinusOne => io::ErrorKind::InvalidInput,
        }
    }

    fn own_errno(&self) -> Option<i32> {
        match self {
            Self::Path { source, .. } | Self::File { source } => source.raw_os_error(),
            Self::Project { .. } | Self::Private | Self::MinusOne => None,
        }
    }
}

crate::sys::errno::numbered!(KeyError);

impl From<KeyError> for io::Error {
    /// Wraps the error whole: `io::Error::get_ref` gives the [`KeyError`] back.
    fn from(error: KeyError) -> Self {
        io::Error::new(error.kind(), error)
    }
}
