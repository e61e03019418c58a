//! Parts of error messages: where the error happened, how many bytes, how long the call took.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::escape::shown;
use crate::role::Role;
use crate::sys::sysv::{Key, Project, SegmentId};

/// The ring that an error is about, and the role asked for. The methods return `None` for what the
/// failed call did not know.
///
/// # Examples
///
/// ```
/// use shmpipe::{OpenError, Options, Role};
///
/// # let path = std::env::temp_dir().join(format!("shmpipe-doc-place-{}", std::process::id()));
/// # std::fs::write(&path, "")?;
/// let mut options = Options::new();
/// let opened = options.timeout(Some(std::time::Duration::from_millis(10))).open_consumer(&path);
/// let Err(OpenError::TimedOut { at, .. }) = opened else { panic!() };
/// assert_eq!((at.path(), at.project(), at.role()), (Some(&*path), Some(1), Some(Role::Consumer)));
/// # std::fs::remove_file(&path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    path: Option<(PathBuf, Project)>,
    key: Option<Key>,
    id: Option<SegmentId>,
    role: Option<Role>,
    /// The process that holds the other role.
    peer: Option<u32>,
}

impl Place {
    pub(crate) fn file(path: &Path, project: Project) -> Place {
        Place {
            path: Some((path.to_owned(), project)),
            ..Place::default()
        }
    }

    pub(crate) fn key(key: Key) -> Place {
        Place {
            key: Some(key),
            ..Place::default()
        }
    }

    pub(crate) fn segment(id: impl Into<Option<SegmentId>>) -> Place {
        Place {
            id: id.into(),
            ..Place::default()
        }
    }

    pub(crate) fn with_role(mut self, role: Role) -> Place {
        self.role = Some(role);
        self
    }

    /// `pid` holds the role that is not asked for. 0 if it is unknown.
    pub(crate) fn with_peer(mut self, pid: u32) -> Place {
        self.peer = Some(pid).filter(|&pid| pid != 0);
        self
    }

    /// Fills in the parts of `other` that are unknown here.
    pub(crate) fn complete(&mut self, other: &Place) {
        let Place {
            path,
            key,
            id,
            role,
            peer,
        } = self;
        *path = path.take().or_else(|| other.path.clone());
        *key = key.or(other.key);
        *id = id.or(other.id);
        *role = role.or(other.role);
        *peer = peer.or(other.peer);
    }

    /// The file that names the ring.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.path.as_ref().map(|(path, _)| path.as_path())
    }

    /// The project id that the file was combined with.
    #[must_use]
    pub fn project(&self) -> Option<u32> {
        self.path
            .as_ref()
            .map(|(_, project)| u32::from(project.get()))
    }

    /// The raw key that was given instead of a file.
    #[must_use]
    pub fn raw_key(&self) -> Option<Key> {
        self.key
    }

    /// The id of the segment.
    #[must_use]
    pub fn id(&self) -> Option<SegmentId> {
        self.id
    }

    /// The role that was asked for.
    #[must_use]
    pub fn role(&self) -> Option<Role> {
        self.role
    }

    /// The process that holds the other end, in its own pid namespace.
    ///
    /// # Examples
    ///
    /// ```
    /// use shmpipe::{OpenError, Options};
    ///
    /// let ring = Options::new().create_anonymous()?;
    /// let id = ring.id().expect("a segment");
    /// let (_producer, _consumer) = ring.split()?;
    /// let opened = Options::new().attach(id)?.into_consumer();
    /// let Err(OpenError::RoleTaken { at, .. }) = opened else { panic!() };
    /// assert_eq!(at.peer(), Some(std::process::id())); // the producer
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn peer(&self) -> Option<u32> {
        self.peer
    }

    /// Advice for a segment that may not belong to this path at all.
    pub(crate) fn advice(&self) -> &'static str {
        match (&self.path, self.key) {
            (Some(_), _) => {
                "; if it has nothing to do with this file, another project id leads \
                 elsewhere (Options::project, --project)"
            }
            (None, Some(_)) => "; another key leads elsewhere",
            (None, None) => "",
        }
    }
}

/// The beginning of a message: `/tmp/ring (as consumer): `, or nothing.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_named = match (&self.path, self.key, self.id) {
            (Some((path, project)), ..) => {
                write!(f, "{}", shown(path))?;
                if *project != Project::default() {
                    write!(f, " with project id {project}")?;
                }
                true
            }
            (None, Some(key), _) => write!(f, "key {key}").map(|()| true)?,
            (None, None, Some(id)) => write!(f, "segment {id}").map(|()| true)?,
            (None, None, None) => false,
        };
        let Some(role) = self.role else {
            return f.write_str(if is_named { ": " } else { "" });
        };
        let mut text = format!("as {role}");
        if let Some(pid) = self.peer {
            text += &format!("; the {} is process {pid}", role.peer());
        }
        match is_named {
            true => write!(f, " ({text}): "),
            false => write!(f, "{text}: "),
        }
    }
}

/// `1 byte`, `2 bytes`.
pub(crate) struct Bytes<N>(pub(crate) N);

impl<N: fmt::Display + PartialEq + From<u8>> fmt::Display for Bytes<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = if self.0 == N::from(1) {
            "byte"
        } else {
            "bytes"
        };
        write!(f, "{} {unit}", self.0)
    }
}

/// How long a call took: `at once`, `after 20 ms`, `after 0.2 s`.
pub(crate) struct Span(pub(crate) Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_millis() {
            0 => f.write_str("at once"),
            millis @ ..100 => write!(f, "after {millis} ms"),
            _ => write!(f, "after {:.1} s", self.0.as_secs_f64()),
        }
    }
}
