//! `shmpipe recv`: a ring to stdout.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use shmpipe::Consumer;

use crate::args::StreamArgs;
use crate::exit::Failure;
use crate::send::{BLOCK, make_if_missing};
use crate::signals::Signals;
use crate::watch::{Handle, Watched};

pub(crate) fn run(args: &StreamArgs) -> Result<(), Failure> {
    let signals = Signals::catch().map_err(|error| Failure::io("signals", &error))?;
    // Without std's own buffer.
    let stdout = io::stdout().as_fd().try_clone_to_owned();
    let mut stdout = File::from(stdout.map_err(|error| Failure::io("stdout", &error))?);
    let mut options = args.options();
    options.cancel_on(Arc::clone(&signals.flag));
    let consumer = match args.path() {
        Some(path) => {
            make_if_missing(path)?;
            options.consumer(path)?
        }
        None => options.consumer_from_parent()?,
    };
    let watched = Watched::new(consumer, signals).map_err(|error| Failure::io("thread", &error))?;
    let done = copy(&watched, &mut stdout);
    watched.end(done, |mut consumer| Ok(consumer.close()?))
}

fn copy(watched: &Watched<Consumer>, stdout: &mut File) -> Result<(), Failure> {
    let mut block = vec![0; BLOCK];
    loop {
        let len = watched.with(|consumer| consumer.read(&mut block))?;
        if len == 0 {
            return Ok(());
        }
        stdout
            .write_all(&block[..len])
            .map_err(|error| match error.kind() {
                io::ErrorKind::BrokenPipe => Failure::stdout_closed(),
                _ => Failure::io("stdout", &error),
            })?;
    }
}

impl Handle for Consumer {
    fn break_off(self) {}

    /// A stdout that nobody reads ends the stream even if nothing comes.
    fn look(_idle: Option<&mut Consumer>) -> Result<(), Failure> {
        let stdout = io::stdout();
        let mut fds = [PollFd::new(&stdout, PollFlags::empty())];
        let at_once = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // A poll that fails says nothing; the next write will.
        let closed = poll(&mut fds, Some(&at_once)).is_ok()
            && fds[0].revents().intersects(PollFlags::ERR | PollFlags::HUP);
        match closed {
            true => Err(Failure::stdout_closed()),
            false => Ok(()),
        }
    }
}
