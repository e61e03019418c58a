//! `shmpipe send`: stdin into a ring.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use shmpipe::{Broken, Producer};

use crate::args::StreamArgs;
use crate::exit::Failure;
use crate::signals::Signals;
use crate::watch::{Handle, Watched};

/// The most that is read from stdin, or from a ring, at once.
pub(crate) const BLOCK: usize = 256 << 10;

pub(crate) fn run(args: &StreamArgs) -> Result<(), Failure> {
    let signals = Signals::catch().map_err(|error| Failure::io("signals", &error))?;
    // Without std's own buffer. Unbuffered, so nothing is read twice.
    let stdin = io::stdin().as_fd().try_clone_to_owned();
    let mut stdin = File::from(stdin.map_err(|error| Failure::io("stdin", &error))?);
    let mut options = args.options();
    options.cancel_on(Arc::clone(&signals.flag));
    let sender = Sender {
        producer: match args.path() {
            Some(path) => {
                make_if_missing(path)?;
                options.producer(path)?
            }
            None => options.producer_from_parent()?,
        },
        persistent: args.persist,
    };
    let watched = Watched::new(sender, signals).map_err(|error| Failure::io("thread", &error))?;
    let done = copy(&mut stdin, &watched);
    watched.end(done, |mut sender| Ok(sender.producer.close()?))
}

fn copy(stdin: &mut File, watched: &Watched<Sender>) -> Result<(), Failure> {
    let mut block = vec![0; BLOCK];
    loop {
        match stdin.read(&mut block) {
            Ok(0) => return Ok(()),
            Ok(len) => watched.with(|sender| sender.producer.write_all(&block[..len]))?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Failure::io("stdin", &error)),
        }
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

#[derive(Debug)]
struct Sender {
    producer: Producer,
    persistent: bool,
}

impl Handle for Sender {
    fn break_off(mut self) {
        self.producer.abort();
    }

    /// A ring that persists needs no consumer; any other does.
    fn look(idle: Option<&mut Sender>) -> Result<(), Failure> {
        match idle {
            Some(sender) if !sender.persistent => sender
                .producer
                .check_peer()
                .map_err(|broken: Broken| broken.into()),
            _ => Ok(()),
        }
    }
}
