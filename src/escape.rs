//! Displays paths, and errors of opening a path, in one line. Public only for the command of this
//! project.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::path::Path;

/// Displays a path or another string of the system in one line. A string whose characters are all
/// visible is shown as it is. Any other string is quoted and escaped, so that no character can move
/// a cursor or look like another line.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a>(&'a OsStr);

/// Shows a path.
pub fn shown<S: AsRef<OsStr> + ?Sized>(path: &S) -> Shown<'_> {
    Shown(path.as_ref())
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.to_str() {
            Some(text) if !text.is_empty() && text.chars().all(is_visible) => f.write_str(text),
            // Debug also escapes what is not UTF-8.
            _ => write!(f, "{:?}", self.0),
        }
    }
}

/// Explains an error of opening `path` where the kernel's error misleads.
pub fn explained(path: &Path, error: io::Error) -> io::Error {
    let missing = error.kind() == io::ErrorKind::NotFound;
    if missing && path.as_os_str().is_empty() {
        return io::Error::new(error.kind(), "the path is empty");
    }
    match std::fs::read_link(path) {
        Ok(target) if missing => {
            let target = shown(&target);
            let dangles = format!("a symbolic link to {target}, which leads to no file");
            io::Error::new(error.kind(), dangles)
        }
        _ => match path.parent().filter(|_| missing) {
            Some(folder) if !folder.as_os_str().is_empty() && !folder.exists() => {
                let why = format!("there is no folder {}", shown(folder));
                io::Error::new(error.kind(), why)
            }
            _ => error,
        },
    }
}

/// Whether the character is visible: Debug leaves it unchanged, or only puts a backslash before it.
fn is_visible(c: char) -> bool {
    matches!(c, '"' | '\'' | '\\') || c.escape_debug().len() == 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn invisible_characters_are_escaped() {
        let shown = |bytes: &[u8]| shown(Path::new(OsStr::from_bytes(bytes))).to_string();
        for plain in ["/tmp/ring", "it's a \"ring\"", "a\\b", "\u{fc}\u{4e2d}"] {
            assert_eq!(shown(plain.as_bytes()), plain);
        }
        assert_eq!(shown(b""), r#""""#);
        assert_eq!(shown(b"a\nb"), r#""a\nb""#);
        assert_eq!(shown(b"\x1b[31m\\"), r#""\u{1b}[31m\\""#);
        assert_eq!(shown("\u{9b}31m".as_bytes()), r#""\u{9b}31m""#);
        assert_eq!(shown("\u{202e}x".as_bytes()), r#""\u{202e}x""#);
        assert_eq!(shown(b"\xff"), r#""\xFF""#);
    }
}
