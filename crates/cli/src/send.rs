//! `shmpipe send`: copies stdin to a ring.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use shmpipe::{Producer, ReserveError};

use crate::args::SendArgs;
use crate::exit::Failure;
use crate::signals::Signals;
use crate::sockets;
use crate::stream::{LOOK, Stream, Unit};

/// How long to wait for room. If none comes, stdin is read into a buffer first.
const GLANCE: Duration = Duration::from_millis(10);

pub(crate) fn run(args: &SendArgs) -> Result<(), Failure> {
    let signals = Signals::catch()?;
    signals.end(send(args, &signals))
}

/// Sends a stream. The ring is detached when this returns, except after a failure with
/// `--resume`.
fn send(args: &SendArgs, signals: &Signals) -> Result<(), Failure> {
    let mut stdin = Stream::stdin()?;
    let mut options = args.stream.options();
    options
        .cancel_on(Arc::clone(&signals.flag))
        .resume(args.resume)
        .wait_policy(stdin.wait_policy())
        .abort_on_drop(true);
    let mut producer = match args.stream.path() {
        Some(path) => options.create_file(true).open_producer(path)?,
        None => options.producer_from_parent()?,
    };
    let done = stdin
        .skip(producer.stream_position())
        .and_then(|()| copy(&mut stdin, &mut producer, args.stream.persist, signals))
        .and_then(|()| signals.check());
    match done {
        Ok(()) => Ok(producer.close()?),
        Err(failure) => {
            if args.resume {
                // A resumable stream must stay without an end, as after a kill.
                std::mem::forget(producer);
            }
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
    let mut buffer = Vec::new();
    let mut is_ready = false;
    loop {
        signals.check()?;
        // A persistent ring needs no consumer. Any other ring does, even while no input
        // comes.
        if !persist && looked.elapsed() >= LOOK {
            producer.check_peer()?;
            looked = Instant::now();
        }
        if !is_ready && !stdin.is_ready(PollFlags::IN)? {
            continue;
        }
        let moved = move_some(stdin, producer, most, &mut buffer)?;
        match stdin.moved(moved)? {
            Some(0) => return Ok(()),
            Some(_) => is_ready = stdin.may_try_first(),
            None => is_ready = false,
        }
    }
}

/// Moves bytes from stdin, which is ready. 0 is the end of stdin.
///
/// If the ring has room, the kernel reads straight into it. Otherwise this reads first and
/// then waits for room, since at the end of stdin no room is needed.
fn move_some(
    stdin: &mut Stream,
    producer: &mut Producer,
    most: usize,
    buffer: &mut Vec<u8>,
) -> Result<io::Result<usize>, Failure> {
    let most = match stdin.unit() {
        Unit::Bytes => {
            if room(producer, most)? > 0 || !stdin.may_be_at_end() {
                return Ok(producer.fill_from(&*stdin, most));
            }
            1 // most often stdin is at its end
        }
        Unit::UpTo(len) => {
            // A small ring never has room for a whole unit.
            let most = most.max(len);
            if len <= producer.capacity() && room(producer, most.min(producer.capacity()))? >= len {
                return Ok(producer.fill_from(&*stdin, most));
            }
            len
        }
        Unit::Packet => return Ok(move_packet(stdin, producer, buffer)),
    };
    buffer.resize(most, 0);
    Ok(move_through(stdin, producer, buffer))
}

fn move_through(
    stdin: &mut Stream,
    producer: &mut Producer,
    buffer: &mut [u8],
) -> io::Result<usize> {
    let len = stdin.read(buffer)?;
    producer.write_all(&buffer[..len])?;
    Ok(len)
}

/// Moves one packet, which may be longer than the ring.
fn move_packet(stdin: &Stream, producer: &mut Producer, buffer: &mut Vec<u8>) -> io::Result<usize> {
    let len = sockets::receive(stdin, buffer)?;
    producer.write_all(&buffer[..len])?;
    Ok(len)
}

/// Waits for a moment for room of `most` bytes. Returns how much there is.
fn room(producer: &mut Producer, most: usize) -> Result<usize, Failure> {
    match producer.wait_writable_deadline(most, Instant::now() + GLANCE) {
        Ok(()) => Ok(most),
        Err(ReserveError::TimedOut { room, .. }) => Ok(room),
        Err(error) => Err(Failure::stream(error.into())),
    }
}
