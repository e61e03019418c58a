//! `shmpipe send`: stdin into a ring.

use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use shmpipe::{Producer, ReserveError};

use crate::args::StreamArgs;
use crate::exit::Failure;
use crate::signals::Signals;
use crate::stream::{LOOK, Stream};

/// How long a full ring is waited for before it is asked whether there is
/// anything to wait for.
const GLANCE: Duration = Duration::from_millis(10);

pub(crate) fn run(args: &StreamArgs) -> Result<(), Failure> {
    let signals = Signals::catch()?;
    let mut stdin = Stream::stdin()?;
    let mut options = args.options();
    options.cancel_on(Arc::clone(&signals.flag));
    let mut producer = match args.path() {
        Some(path) => {
            make_if_missing(path)?;
            options.producer(path)?
        }
        None => options.producer_from_parent()?,
    };
    let done = copy(&mut stdin, &mut producer, args.persist, &signals);
    match done.and_then(|()| signals.check()) {
        Ok(()) => Ok(producer.close()?),
        Err(failure) => {
            producer.abort();
            Err(failure)
        }
    }
}

fn copy(
    stdin: &mut Stream,
    producer: &mut Producer,
    persist: bool,
    signals: &Signals,
) -> Result<(), Failure> {
    let most = stdin.most(producer.capacity());
    let mut looked = Instant::now();
    loop {
        signals.check()?;
        // A ring that persists needs no consumer; any other does, even while
        // stdin gives nothing.
        if !persist && looked.elapsed() >= LOOK {
            producer.check_peer()?;
            looked = Instant::now();
        }
        if !stdin.is_ready(PollFlags::IN)? {
            continue;
        }
        let moved = match has_room(producer, most)? || !stdin.may_be_at_end() {
            true => producer.fill_from(&*stdin, most),
            false => move_byte(stdin, producer),
        };
        if stdin.moved(moved)? == Some(0) {
            return Ok(());
        }
    }
}

/// Waits a moment for room for `most` bytes; whether there is any.
fn has_room(producer: &mut Producer, most: usize) -> Result<bool, Failure> {
    if producer.room(most)? >= most {
        return Ok(true);
    }
    match producer.reserve_deadline(most, Instant::now() + GLANCE) {
        Ok(_) => Ok(true),
        Err(ReserveError::TimedOut { room }) => Ok(room > 0),
        Err(error) => Err(Failure::stream(error.into())),
    }
}

/// Reads before it waits for room, for which there may be no need. Seldom
/// finds a byte.
fn move_byte(stdin: &mut Stream, producer: &mut Producer) -> io::Result<usize> {
    let mut byte = [0];
    match stdin.read(&mut byte)? {
        0 => Ok(0),
        _ => producer.write(&byte),
    }
}

/// Makes the file that names a ring, unless it is there.
pub(crate) fn make_if_missing(path: &Path) -> Result<(), Failure> {
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    match made {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(Failure::io(path.display(), &error))
        }
        _ => Ok(()),
    }
}
