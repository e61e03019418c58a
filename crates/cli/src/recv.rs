//! `shmpipe recv`: copies a ring to stdout.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use shmpipe::{Broken, Consumer, Occupant, PeekError, WaitError};

use crate::args::RecvArgs;
use crate::exit::{Code, Failure};
use crate::signals::Signals;
use crate::stream::{LOOK, Stream};

pub(crate) fn run(args: &RecvArgs) -> Result<(), Failure> {
    let signals = Signals::catch()?;
    signals.end(receive(args, &signals))
}

/// The longest wait for bytes at a time, if something else ends the wait when nobody reads
/// stdout any more.
const LONG_LOOK: Duration = Duration::from_secs(10);

fn receive(args: &RecvArgs, signals: &Signals) -> Result<(), Failure> {
    let stdout = Stream::stdout()?;
    let look = match stdout.tell_when_broken(&signals.flag) {
        true => LONG_LOOK,
        false => LOOK,
    };
    receive_to(&stdout, look, args, signals).map_err(|failure| {
        // The wait was cancelled, and by no signal.
        match signals.check().is_ok() && failure.is_interrupted() && stdout.is_broken() {
            true => Failure::stdout_closed(),
            false => failure,
        }
    })
}

/// Receives streams. The ring is detached when this returns.
fn receive_to(
    stdout: &Stream,
    look: Duration,
    args: &RecvArgs,
    signals: &Signals,
) -> Result<(), Failure> {
    let mut options = args.stream.options();
    options
        .cancel_on(Arc::clone(&signals.flag))
        .wait_policy(stdout.wait_policy())
        .abort_on_drop(true);
    let mut consumer = match args.stream.path() {
        Some(path) => options.create_file(true).open_consumer(path)?,
        None => options.consumer_from_parent()?,
    };
    loop {
        copy(&mut consumer, stdout, look, args.follow, signals)?;
        signals.check()?;
        // All of the stream is written, so the next receiver gets the next stream.
        if !consumer.next_stream()? || !args.follow {
            return Ok(consumer.close()?);
        }
        await_stream(&mut consumer, stdout, signals)?;
    }
}

/// Waits for the next stream, or for the next sender.
fn await_stream(
    consumer: &mut Consumer,
    stdout: &Stream,
    signals: &Signals,
) -> Result<(), Failure> {
    let start = Instant::now();
    let limit = consumer.timeout();
    loop {
        signals.check()?;
        match consumer.wait_for_peer_deadline(Instant::now() + LOOK) {
            Ok(()) => return Ok(()),
            Err(WaitError::TimedOut) if stdout.is_broken() => return Err(Failure::stdout_closed()),
            Err(WaitError::TimedOut) if limit.is_some_and(|limit| start.elapsed() >= limit) => {
                return Err(Failure::new(Code::TimedOut, "timed out: no sender came"));
            }
            Err(WaitError::TimedOut) => {}
            Err(stop) => return Err(Failure::stream(stop.into())),
        }
    }
}

/// Copies one stream. Bytes that stdout has not taken stay in the ring.
fn copy(
    consumer: &mut Consumer,
    stdout: &Stream,
    look: Duration,
    follow: bool,
    signals: &Signals,
) -> Result<(), Failure> {
    let most = stdout.most(consumer.capacity());
    loop {
        match await_bytes(consumer, stdout, look)? {
            Found::Bytes => {}
            Found::End => return Ok(()),
            // Another sender may resume the stream.
            Found::Death(_) if follow => {
                await_stream(consumer, stdout, signals)?;
                continue;
            }
            Found::Death(failure) => return Err(failure),
        }
        loop {
            signals.check()?;
            if stdout.may_block() && !stdout.is_ready(PollFlags::OUT)? {
                continue;
            }
            match stdout.moved(stdout.drain(consumer, most))? {
                Some(_) => break,
                None => stdout.is_ready(PollFlags::OUT)?,
            };
        }
    }
}

/// What a receiver finds.
enum Found {
    Bytes,
    /// The end of a whole stream.
    End,
    /// The sender died, and nobody has followed it yet.
    Death(Failure),
}

/// Waits for bytes, or for an end or a death instead. Fails if nobody reads stdout any
/// more, even if no byte comes.
fn await_bytes(consumer: &mut Consumer, stdout: &Stream, look: Duration) -> Result<Found, Failure> {
    let start = Instant::now();
    let limit = consumer.timeout();
    loop {
        let wait = limit.map_or(look, |limit| {
            look.min(limit.saturating_sub(start.elapsed()))
        });
        match consumer.wait_readable_deadline(1, Instant::now() + wait) {
            Ok(()) => return Ok(Found::Bytes),
            Err(PeekError::Ended { .. }) => return Ok(Found::End),
            Err(PeekError::TimedOut { .. }) if stdout.is_broken() => {
                return Err(Failure::stdout_closed());
            }
            Err(PeekError::TimedOut { .. })
                if limit.is_some_and(|limit| start.elapsed() >= limit) =>
            {
                let waited = limit.filter(|limit| !limit.is_zero());
                let waited = waited.map(|limit| format!(" after {limit:?}"));
                let waited = waited.unwrap_or_default();
                let writer = match consumer.peer() {
                    Occupant::Process(0) => "there is a producer".to_owned(), // an unknown id
                    Occupant::Process(pid) => format!("the producer is process {pid}"),
                    Occupant::Left => "the producer has left".to_owned(),
                    _ => "there is no producer".to_owned(),
                };
                return Err(Failure::new(
                    Code::TimedOut,
                    format_args!("timed out{waited}: no byte to read, and {writer}"),
                ));
            }
            Err(PeekError::TimedOut { .. }) => {}
            Err(error) => {
                let died = matches!(error, PeekError::Broken(Broken::Died { .. }));
                let failure = Failure::stream(error.into());
                if consumer.is_at_end() {
                    // All bytes of the stream are written. Acknowledges its end, so that
                    // the next receiver does not get this error.
                    let _ = consumer.next_stream(); // the failure counts
                } else if died {
                    return Ok(Found::Death(failure));
                }
                return Err(failure);
            }
        }
    }
}
