//! Stores each stream of a ring in a file of its own, and takes nothing out of
//! the ring that is not stored.
//!
//! ```text
//! cargo run --example relay -- /tmp/log-ring /tmp/spool
//! ```
//!
//! A stream that begins at position 4096 goes to `4096.part`. Its end renames
//! the file: to `4096.whole`, or to `4096.broken` if the writer broke off or
//! died. Bytes leave the ring once they are on disk, and the end is acknowledged
//! once the file has its name. So this process can be killed at any time, and
//! the next one goes on. It ends when nothing has come for a second.

use std::error::Error;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use shmpipe::{Broken, Consumer, NextStreamError, Options, PeekError, Stop};

/// How long nothing may come.
const QUIET: Duration = Duration::from_secs(1);
/// Bytes to store at once.
const MOST: usize = 64 << 10;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args_os().skip(1);
    let (Some(path), Some(folder)) = (args.next(), args.next()) else {
        return Err("usage: relay PATH FOLDER".into());
    };
    // The file only names the ring.
    File::options().append(true).create(true).open(&path)?;
    let folder = PathBuf::from(folder);
    fs::create_dir_all(&folder)?;

    let mut ring = Options::new()
        .persistent(true)
        .capacity(1 << 16) // as the writer asks: either may be the first
        .abort_on_drop(true) // an early return acknowledges nothing
        .consumer(&path)?;
    loop {
        let ending = match store(&mut ring, &folder)? {
            Some(ending) => ending,
            None => return Ok(ring.close()?), // quiet
        };
        println!("{ending}");
        match ring.next_stream() {
            Ok(_) => {}
            // The writer died, and nobody has followed: perhaps it is restarted.
            Err(NextStreamError::NotEnded { .. }) => match ring.wait_for_peer_deadline(soon()) {
                Err(Stop::TimedOut) => return Ok(()),
                waited => waited?,
            },
            Err(error) => return Err(error.into()),
        }
    }
}

fn soon() -> Instant {
    Instant::now() + QUIET
}

/// Stores what comes of one stream, up to its end, and says how that was.
fn store(ring: &mut Consumer, folder: &Path) -> Result<Option<String>, Box<dyn Error>> {
    let stored = ring.stream_position();
    let began = ring.position().wrapping_sub(stored);
    let part = folder.join(format!("{began}.part"));
    let mut file = None;
    loop {
        match ring.peek_deadline(1, soon()) {
            Ok(_) => {}
            Err(PeekError::Ended { .. }) => return rename(&part, began, "whole"),
            Err(PeekError::Broken(Broken::ProducerAborted | Broken::Died { .. })) => {
                return rename(&part, began, "broken");
            }
            Err(PeekError::TimedOut { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        let file = match &mut file {
            Some(file) => file,
            None => file.insert(open(&part, folder, began, stored)?),
        };
        let grant = ring.peek_up_to(MOST)?;
        let mut bytes = vec![0; grant.len()];
        grant.read_at(0, &mut bytes);
        file.write_all(&bytes)?;
        file.sync_data()?;
        grant.consume_all();
    }
}

/// The file of a stream. What it holds beyond the bytes that have left the ring
/// comes again.
fn open(part: &Path, folder: &Path, began: u64, stored: u64) -> Result<File, Box<dyn Error>> {
    let broken = folder.join(format!("{began}.broken"));
    if stored > 0 && broken.exists() {
        fs::rename(&broken, part)?; // its writer died, and was restarted
    }
    let file = File::options().append(true).create(true).open(part)?;
    file.set_len(stored)?;
    Ok(file)
}

/// Gives the file of a stream its name. There is none for an empty stream, and
/// none any more where this was done before a kill.
fn rename(part: &Path, began: u64, how: &str) -> Result<Option<String>, Box<dyn Error>> {
    let name = format!("{began}.{how}");
    if part.exists() {
        fs::rename(part, part.with_file_name(&name))?;
    }
    Ok(Some(name))
}
