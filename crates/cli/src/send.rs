//! `shmpipe send`: copies stdin to a ring.

use std::io::{self, IsTerminal, Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use shmpipe::{Producer, ReserveError};

use crate::args::SendArgs;
use crate::exit::{Code, Failure};
use crate::framed::Checker;
use crate::progress::{Progress, Reading};
use crate::signals::Signals;
use crate::sockets;
use crate::stream::{LOOK, Stream, Unit};

/// How long to wait for room. If none comes, stdin is read into a buffer first.
const GLANCE: Duration = Duration::from_millis(10);
/// The most bytes of a framed stream that are read at once.
const FRAMED: usize = 128 << 10;

pub(crate) fn run(args: &SendArgs) -> Result<(), Failure> {
    let signals = Signals::catch()?;
    signals.end(send(args, &signals))
}

/// Sends a stream. The ring is detached when this returns, except after a failure with
/// `--resume`.
fn send(args: &SendArgs, signals: &Signals) -> Result<(), Failure> {
    let mut stdin = Stream::stdin()?;
    let mut progress = Progress::new(args.stream.progress, "send", io::stdin().is_terminal());
    let mut options = args.stream.options();
    options
        .cancel_on(Arc::clone(&signals.flag))
        .resume(args.resume)
        .wait_policy(stdin.wait_policy())
        .abort_on_drop(true);
    progress.waits_for("receiver");
    let mut producer = match args.stream.path() {
        Some(path) => {
            crate::start::make_file(path, args.stream.mode())?;
            options.create_file(true).open_producer(path)?
        }
        None => options.producer_from_parent()?,
    };
    let sent = producer.stream_position();
    let done = stdin.skip(sent).and_then(|()| {
        progress.starts(stdin.left().map(|left| left + sent));
        let mut sender = Sender {
            stdin: &mut stdin,
            producer: &mut producer,
            needs_receiver: !args.stream.persist,
            progress: &mut progress,
            signals,
        };
        match args.framed {
            true => sender.send_framed(),
            false => sender.send_all(),
        }
    });
    match done.and_then(|()| signals.check()) {
        Ok(()) => {
            progress.ends(reading(&mut producer));
            Ok(producer.close()?)
        }
        Err(failure) => {
            if args.resume {
                // A resumable stream must stay without an end, as after a kill.
                std::mem::forget(producer);
            }
            Err(failure)
        }
    }
}

/// How far the stream is.
fn reading(producer: &mut Producer) -> Reading {
    let position = producer.position();
    let consumed = producer.consumed().unwrap_or(position); // the next write reports the error
    Reading {
        bytes: producer.stream_position(),
        fill: position.saturating_sub(consumed) as usize, // at most the capacity
        capacity: producer.capacity(),
    }
}

/// Copies an input to a ring. `run` uses it, too.
pub(crate) struct Sender<'a> {
    pub(crate) stdin: &'a mut Stream,
    pub(crate) producer: &'a mut Producer,
    /// Whether the stream fails without a receiver, even while no input comes.
    pub(crate) needs_receiver: bool,
    pub(crate) progress: &'a mut Progress,
    pub(crate) signals: &'a Signals,
}

impl Sender<'_> {
    /// Copies all of stdin.
    pub(crate) fn send_all(&mut self) -> Result<(), Failure> {
        let most = self.stdin.most(self.producer.capacity());
        let mut looked = Instant::now();
        let mut buffer = Vec::new();
        let mut is_ready = false;
        loop {
            self.look_around(&mut looked)?;
            if !is_ready && !self.stdin.is_ready(PollFlags::IN)? {
                continue;
            }
            let moved = self.move_some(most, &mut buffer)?;
            match self.stdin.moved(moved)? {
                Some(0) => return Ok(()),
                Some(_) => is_ready = self.stdin.may_try_first(),
                None => is_ready = false,
            }
        }
    }

    /// Copies a framed stream, and fails unless it is whole.
    fn send_framed(&mut self) -> Result<(), Failure> {
        let mut checker = Checker::new();
        let mut looked = Instant::now();
        let mut buffer = vec![0; FRAMED];
        loop {
            self.look_around(&mut looked)?;
            if !self.stdin.is_ready(PollFlags::IN)? {
                continue;
            }
            let read = match self.stdin.unit() {
                Unit::Packet => sockets::receive(self.stdin, &mut buffer),
                Unit::Bytes | Unit::UpTo(_) => self.stdin.read(&mut buffer),
            };
            match self.stdin.moved(read)? {
                Some(0) => return checker.end(),
                Some(len) => {
                    let known = checker.take(&buffer[..len])?;
                    self.write_all(&known)?;
                }
                None => {}
            }
        }
    }

    /// Shows progress, and looks for signals and the receiver.
    fn look_around(&mut self, looked: &mut Instant) -> Result<(), Failure> {
        self.signals.check()?;
        self.progress.show(|| reading(self.producer));
        if self.needs_receiver && looked.elapsed() >= LOOK {
            self.producer.check_peer()?;
            *looked = Instant::now();
        }
        Ok(())
    }

    /// Moves bytes from stdin, which is ready. 0 is the end of stdin.
    ///
    /// If the ring has room, the kernel reads straight into it. Otherwise this reads first
    /// and then waits for room, since at the end of stdin no room is needed.
    fn move_some(
        &mut self,
        most: usize,
        buffer: &mut Vec<u8>,
    ) -> Result<io::Result<usize>, Failure> {
        let capacity = self.producer.capacity();
        let most = match self.stdin.unit() {
            Unit::Bytes => {
                let room = self.room(most)?;
                if room > 0 || !self.stdin.may_be_at_end() {
                    if room == 0 {
                        self.await_room()?;
                    }
                    return Ok(self.producer.fill_from(&*self.stdin, most));
                }
                1 // most often stdin is at its end
            }
            Unit::UpTo(len) => {
                // A small ring never has room for a whole unit.
                let most = most.max(len);
                if len <= capacity && self.room(most.min(capacity))? >= len {
                    return Ok(self.producer.fill_from(&*self.stdin, most));
                }
                len
            }
            Unit::Packet => match sockets::receive(self.stdin, buffer) {
                Ok(len) => return self.write_all(&buffer[..len]).map(|()| Ok(len)),
                Err(error) => return Ok(Err(error)),
            },
        };
        buffer.resize(most, 0);
        match self.stdin.read(buffer) {
            Ok(len) => self.write_all(&buffer[..len]).map(|()| Ok(len)),
            Err(error) => Ok(Err(error)),
        }
    }

    /// Writes all of `bytes`, which may be more than the ring holds.
    fn write_all(&mut self, mut bytes: &[u8]) -> Result<(), Failure> {
        while !bytes.is_empty() {
            self.await_room()?;
            let written = self.producer.write(bytes).map_err(Failure::stream)?;
            bytes = &bytes[written..];
        }
        Ok(())
    }

    /// Waits for a moment for room of `most` bytes. Returns how much there is.
    fn room(&mut self, most: usize) -> Result<usize, Failure> {
        let deadline = Instant::now() + GLANCE;
        match self.producer.wait_writable_deadline(most, deadline) {
            Ok(()) => Ok(most),
            Err(ReserveError::TimedOut { room, .. }) => Ok(room),
            Err(error) => Err(Failure::stream(error.into())),
        }
    }

    /// Waits for room and shows progress meanwhile. If no progress is shown,
    /// returns at once, and the next write waits.
    fn await_room(&mut self) -> Result<(), Failure> {
        let (start, limit) = (Instant::now(), self.producer.timeout());
        while self.progress.is_shown() {
            self.signals.check()?;
            let left = limit.map(|limit| limit.saturating_sub(start.elapsed()));
            let deadline = Instant::now() + left.unwrap_or(LOOK).min(LOOK);
            match self.producer.wait_writable_deadline(1, deadline) {
                Ok(()) => break,
                Err(ReserveError::TimedOut { .. }) if left == Some(Duration::ZERO) => {
                    let waited = limit.unwrap_or_default();
                    let why = format!("timed out after {waited:?}: no room for a byte");
                    return Err(Failure::new(Code::TimedOut, why));
                }
                Err(ReserveError::TimedOut { .. }) => self.progress.show(|| reading(self.producer)),
                Err(error) => return Err(Failure::stream(error.into())),
            }
        }
        Ok(())
    }
}
