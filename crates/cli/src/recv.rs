//! `shmpipe recv`: copies a ring to stdout.

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use shmpipe::{Broken, Consumer, Occupant, Options, PeekError, WaitError};

use crate::args::RecvArgs;
use crate::exit::{Code, Failure};
use crate::framed::Framer;
use crate::progress::{Progress, Reading};
use crate::signals::Signals;
use crate::stream::{LOOK, Stream};

/// The longest wait for bytes at a time, if a thread watches stdout.
const LONG_LOOK: Duration = Duration::from_secs(10);
/// The same while progress is shown.
const SHOWN_LOOK: Duration = Duration::from_millis(500);

pub(crate) fn run(args: &RecvArgs) -> Result<(), Failure> {
    let signals = Signals::catch()?;
    signals.end(receive(args, &signals))
}

fn receive(args: &RecvArgs, signals: &Signals) -> Result<(), Failure> {
    let stdout = Stream::stdout()?;
    let mut progress = Progress::new(args.stream.progress, "recv", io::stdout().is_terminal());
    let wait = longest_wait(&stdout, &progress, signals);
    let received = receive_to(&stdout, wait, args, &mut progress, signals);
    received.map_err(|failure| explained(failure, &stdout, signals))
}

/// The longest wait for bytes at a time.
pub(crate) fn longest_wait(stdout: &Stream, progress: &Progress, signals: &Signals) -> Duration {
    match (stdout.tell_when_broken(&signals.flag), progress.is_shown()) {
        (false, _) => LOOK,
        (true, true) => SHOWN_LOOK,
        (true, false) => LONG_LOOK,
    }
}

/// Reports a closed stdout if that, not a signal, cancelled the wait.
pub(crate) fn explained(failure: Failure, stdout: &Stream, signals: &Signals) -> Failure {
    match signals.check().is_ok() && failure.is_interrupted() && stdout.is_broken() {
        true => Failure::stdout_closed(),
        false => failure,
    }
}

/// Receives streams. The ring is detached when this returns.
fn receive_to(
    stdout: &Stream,
    longest_wait: Duration,
    args: &RecvArgs,
    progress: &mut Progress,
    signals: &Signals,
) -> Result<(), Failure> {
    let mut options = args.stream.options();
    options
        .cancel_on(Arc::clone(&signals.flag))
        .wait_policy(stdout.wait_policy())
        .abort_on_drop(true);
    loop {
        let mut consumer = open(&mut options, args, progress)?;
        let mut receiver = Receiver {
            consumer: &mut consumer,
            stdout,
            longest_wait,
            outlives_death: args.follow && args.stream.persist,
            progress: &mut *progress,
            signals,
        };
        loop {
            match args.framed {
                true => receiver.receive_framed()?,
                false => receiver.receive_stream()?,
            }
            signals.check()?;
            receiver.progress.ends(reading(receiver.consumer));
            // All of the stream is written, so the next receiver gets the next stream.
            let may_follow = receiver.consumer.next_stream()?;
            if !may_follow || !args.follow || !args.stream.persist {
                break;
            }
            receiver.await_stream()?;
            receiver.progress.starts(None);
        }
        consumer.close()?;
        if !args.follow || args.stream.persist {
            return Ok(());
        }
    }
}

/// Opens the ring, and waits for the sender unless the ring persists.
fn open(
    options: &mut Options,
    args: &RecvArgs,
    progress: &mut Progress,
) -> Result<Consumer, Failure> {
    progress.waits_for("sender");
    let consumer = match args.stream.path() {
        Some(path) => {
            crate::start::make_file(path, args.stream.mode())?;
            options.create_file(true).open_consumer(path)?
        }
        None => options.consumer_from_parent()?,
    };
    progress.starts(None);
    Ok(consumer)
}

/// How far the stream is.
fn reading(consumer: &mut Consumer) -> Reading {
    Reading {
        bytes: consumer.stream_position(),
        fill: consumer.available().unwrap_or(0), // the next wait reports the error
        capacity: consumer.capacity(),
    }
}

/// Copies a ring to an output. `run` uses it, too.
pub(crate) struct Receiver<'a> {
    pub(crate) consumer: &'a mut Consumer,
    pub(crate) stdout: &'a Stream,
    /// The longest wait for bytes at a time.
    pub(crate) longest_wait: Duration,
    /// Whether another sender may resume the stream of a dead one.
    pub(crate) outlives_death: bool,
    pub(crate) progress: &'a mut Progress,
    pub(crate) signals: &'a Signals,
}

/// What a receiver finds.
enum Found {
    Bytes,
    /// The end of a whole stream.
    End,
    /// The sender died, and nobody has followed it yet.
    Death(Failure),
}

impl Receiver<'_> {
    /// Copies one stream. Bytes that stdout has not taken stay in the ring.
    pub(crate) fn receive_stream(&mut self) -> Result<(), Failure> {
        let most = self.stdout.most(self.consumer.capacity());
        while self.await_more()? {
            loop {
                self.look_around()?;
                if self.stdout.may_block() && !self.stdout.is_ready(PollFlags::OUT)? {
                    continue;
                }
                let moved = self.stdout.drain(self.consumer, most);
                match self.stdout.moved(moved)? {
                    Some(_) => break,
                    None => self.stdout.await_room()?,
                }
            }
        }
        Ok(())
    }

    /// Copies one stream with its length and digest.
    fn receive_framed(&mut self) -> Result<(), Failure> {
        let most = self.stdout.most(self.consumer.capacity());
        let mut framer = Framer::new();
        self.write_all(Framer::header())?;
        while self.await_more()? {
            let bytes = self.consumer.try_peek_up_to(most);
            let bytes = bytes
                .map_err(|error| Failure::stream(error.into()))?
                .to_vec();
            let len = self.write_some(&bytes)?;
            framer.add(&bytes[..len]);
            let consumed = self.consumer.consume_raw(len);
            consumed.map_err(|error| Failure::stream(error.into()))?;
        }
        self.write_all(&framer.trailer())
    }

    fn write_all(&mut self, mut bytes: &[u8]) -> Result<(), Failure> {
        while !bytes.is_empty() {
            bytes = &bytes[self.write_some(bytes)?..];
        }
        Ok(())
    }

    /// Writes at least one byte to stdout.
    fn write_some(&mut self, bytes: &[u8]) -> Result<usize, Failure> {
        loop {
            self.look_around()?;
            if self.stdout.may_block() && !self.stdout.is_ready(PollFlags::OUT)? {
                continue;
            }
            match self.stdout.moved(self.stdout.write(bytes))? {
                Some(len) => return Ok(len),
                None => self.stdout.await_room()?,
            }
        }
    }

    fn look_around(&mut self) -> Result<(), Failure> {
        self.progress.show(|| reading(self.consumer));
        self.signals.check()
    }

    /// Waits for bytes. `false` at the end of a whole stream.
    fn await_more(&mut self) -> Result<bool, Failure> {
        loop {
            match self.await_bytes()? {
                Found::Bytes => return Ok(true),
                Found::End => return Ok(false),
                // Another sender may resume the stream.
                Found::Death(_) if self.outlives_death => self.await_stream()?,
                Found::Death(failure) => return Err(failure),
            }
        }
    }

    /// Waits for the next stream, or for the next sender.
    fn await_stream(&mut self) -> Result<(), Failure> {
        let start = Instant::now();
        let limit = self.consumer.timeout();
        self.progress.waits_for("sender");
        loop {
            self.signals.check()?;
            match self.consumer.wait_for_peer_deadline(Instant::now() + LOOK) {
                Ok(()) => return Ok(()),
                Err(WaitError::TimedOut) if self.stdout.is_broken() => {
                    return Err(Failure::stdout_closed());
                }
                Err(WaitError::TimedOut) if limit.is_some_and(|limit| start.elapsed() >= limit) => {
                    return Err(Failure::new(Code::TimedOut, "timed out: no sender came"));
                }
                Err(WaitError::TimedOut) => {}
                Err(stop) => return Err(Failure::stream(stop.into())),
            }
        }
    }

    /// Waits for bytes, for an end, or for a death. Fails if the reader of stdout goes, even if
    /// no byte comes.
    fn await_bytes(&mut self) -> Result<Found, Failure> {
        let start = Instant::now();
        let limit = self.consumer.timeout();
        loop {
            let left = limit.map(|limit| limit.saturating_sub(start.elapsed()));
            let wait = left.unwrap_or(self.longest_wait).min(self.longest_wait);
            let deadline = Instant::now() + wait;
            match self.consumer.wait_readable_deadline(1, deadline) {
                Ok(()) => return Ok(Found::Bytes),
                Err(PeekError::Ended { .. }) => return Ok(Found::End),
                Err(PeekError::TimedOut { .. }) if self.stdout.is_broken() => {
                    return Err(Failure::stdout_closed());
                }
                Err(PeekError::TimedOut { .. })
                    if limit.is_some_and(|limit| start.elapsed() >= limit) =>
                {
                    return Err(self.no_byte(limit));
                }
                Err(PeekError::TimedOut { .. }) => self.look_around()?,
                Err(error) => return self.broken(error),
            }
        }
    }

    /// The failure of a wait that reached its time limit.
    fn no_byte(&self, limit: Option<Duration>) -> Failure {
        let waited = limit.filter(|limit| !limit.is_zero());
        let waited = waited.map(|limit| format!(" after {limit:?}"));
        let waited = waited.unwrap_or_default();
        let writer = match self.consumer.peer() {
            Occupant::Process(0) => "there is a sender".to_owned(), // an unknown id
            Occupant::Process(pid) => format!("the sender is process {pid}"),
            Occupant::Left => "the sender has left".to_owned(),
            _ => "there is no sender".to_owned(),
        };
        let why = format!("timed out{waited}: no byte to read, and {writer}");
        Failure::new(Code::TimedOut, why)
    }

    /// What to do about a stream that is broken.
    fn broken(&mut self, error: PeekError) -> Result<Found, Failure> {
        let died = matches!(error, PeekError::Broken(Broken::Died { .. }));
        let failure = Failure::stream(error.into());
        if self.consumer.is_at_end() {
            // All bytes of the stream are written. Acknowledges its end, so that the next
            // receiver does not get this error.
            let _ = self.consumer.next_stream(); // the failure counts
        } else if died {
            return Ok(Found::Death(failure));
        }
        Err(failure)
    }
}
