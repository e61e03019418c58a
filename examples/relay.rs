//! Stores each stream of a ring in a file of its own. Bytes leave the ring only once they
//! are stored.
//!
//! ```text
//! cargo run --example relay -- /tmp/log-ring /tmp/spool [SECONDS]
//! ```
//!
//! A stream that begins at position 4096 goes to `4096.part`. At its end the file is
//! renamed to `4096.whole`. It becomes `4096.broken` if the writer broke the stream off, or
//! died and was not resumed.
//!
//! The end of a stream is acknowledged once its file has the final name. So this process can
//! be killed at any time, and the next one continues. The relay ends if nothing comes for
//! SECONDS, one by default.

use std::error::Error;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use shmpipe::{Broken, Consumer, Options, PeekError, WaitError};

/// The most bytes that are stored at once.
const MOST: usize = 64 << 10;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args_os().skip(1);
    let (Some(path), Some(folder)) = (args.next(), args.next()) else {
        return Err("usage: relay PATH FOLDER [SECONDS]".into());
    };
    let quiet = args
        .next()
        .map_or(Ok(1.0), |seconds| seconds.to_string_lossy().parse())?;
    let quiet = Duration::try_from_secs_f64(quiet)?;
    let folder = PathBuf::from(folder);
    fs::create_dir_all(&folder)?;

    let mut ring = Options::new()
        .create_file(true) // it only names the ring
        .persistent(true)
        .capacity(1 << 16) // equal to the writer's: either may make the ring
        .abort_on_drop(true) // an early return acknowledges nothing
        .open_consumer(&path)?;
    while let Some(ending) = store(&mut ring, &folder, quiet)? {
        println!("{ending}");
        ring.next_stream()?;
    }
    Ok(ring.close()?)
}

/// Stores the bytes of one stream up to its end. Returns the name of the file, or `None` if
/// nothing comes for a while.
fn store(
    ring: &mut Consumer,
    folder: &Path,
    quiet: Duration,
) -> Result<Option<String>, Box<dyn Error>> {
    let soon = || Instant::now() + quiet;
    let stored = ring.stream_position();
    let began = ring.position().wrapping_sub(stored);
    let part = folder.join(format!("{began}.part"));
    let mut file = None;
    loop {
        match ring.peek_deadline(1, soon()).map(drop) {
            Ok(()) => {}
            Err(PeekError::Ended { .. }) => return rename(&part, began, "whole"),
            Err(PeekError::Broken(_)) if ring.is_at_end() => {
                return rename(&part, began, "broken");
            }
            // The writer died, and no other one has come. A restarted one may resume the
            // stream.
            Err(PeekError::Broken(Broken::Died { .. })) => {
                match ring.wait_for_peer_deadline(soon()) {
                    Err(WaitError::TimedOut) => return Ok(None),
                    waited => waited?,
                }
                continue;
            }
            Err(PeekError::TimedOut { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        let file = match &mut file {
            Some(file) => file,
            None => file.insert(open(&part, stored)?),
        };
        let grant = ring.try_peek_up_to(MOST)?;
        file.write_all(&grant.to_vec())?;
        file.sync_data()?;
        grant.consume_all();
    }
}

/// Opens the file of a stream. Bytes that it holds beyond `stored` come again, so they are
/// cut off.
fn open(part: &Path, stored: u64) -> Result<File, Box<dyn Error>> {
    let file = File::options().append(true).create(true).open(part)?;
    file.set_len(stored)?;
    Ok(file)
}

/// Gives the file of a stream its final name. There is no file if the stream is empty, or
/// if the file was renamed before an earlier relay was killed.
fn rename(part: &Path, began: u64, how: &str) -> Result<Option<String>, Box<dyn Error>> {
    let name = format!("{began}.{how}");
    if part.exists() {
        fs::rename(part, part.with_file_name(&name))?;
    }
    Ok(Some(name))
}
