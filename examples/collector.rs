//! Collects lines from many rings in one thread, each from a process of its own.
//!
//! ```text
//! cargo run --example collector -- 60 /tmp/one /tmp/two /tmp/three
//! date | shmpipe send /tmp/one
//! ```
//!
//! Each path names a ring. A producer may come before the collector, later, or never, and
//! another one may follow. The collector prints each line after the name of its ring, and
//! how each stream ended. The first argument is a time in seconds: the collector ends if
//! nothing comes for so long.

use std::error::Error;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use shmpipe::set::{AsEnd, EndMut};
use shmpipe::{Consumer, Options, TryReadError, WaitError, WaitSet};

/// A member of the set: a ring, and what has come of a line.
struct Source {
    path: PathBuf,
    ring: Consumer,
    line: Vec<u8>,
}

impl AsEnd for Source {
    fn as_end(&mut self) -> EndMut<'_> {
        EndMut::Consumer(&mut self.ring)
    }
}

impl Source {
    fn new(path: &Path) -> Result<Source, Box<dyn Error>> {
        // The file only names the ring.
        File::options().append(true).create(true).open(path)?;
        Ok(Source {
            path: path.to_owned(),
            ring: Options::new().wait_for_peer(false).open_consumer(path)?,
            line: Vec::new(),
        })
    }

    /// Prints the lines that are whole.
    fn take(&mut self, bytes: &[u8]) {
        self.line.extend(bytes);
        while let Some(end) = self.line.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = self.line.drain(..=end).collect();
            self.say(String::from_utf8_lossy(&line[..end]));
        }
    }

    fn say(&self, what: impl std::fmt::Display) {
        println!("{}: {what}", self.path.display());
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args_os().skip(1);
    let seconds = args.next().ok_or("usage: collector SECONDS PATH...")?;
    let quiet = Duration::try_from_secs_f64(seconds.to_string_lossy().parse()?)?;
    let sources: Result<WaitSet<Source>, _> =
        args.map(|path| Source::new(Path::new(&path))).collect();
    let mut set = sources?;

    let mut bytes = [0; 1 << 16];
    loop {
        let key = match set.wait_deadline(Instant::now() + quiet) {
            Ok(Some(key)) => key,
            Ok(None) | Err(WaitError::TimedOut) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let source = &mut set[key];
        match source.ring.try_read(&mut bytes) {
            Ok(0) => source.say("the end"),
            Ok(len) => {
                source.take(&bytes[..len]);
                continue;
            }
            Err(TryReadError::Empty) => continue,
            Err(TryReadError::Broken(why)) => source.say(why),
        }
        // The next producer of this path gets another ring.
        let ended = set.remove(key).ok_or("the set has lost a member")?;
        set.insert(Source::new(&ended.path)?);
    }
}
