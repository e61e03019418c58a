//! `shmpipe recv`: a ring to stdout.

use std::sync::Arc;
use std::time::Instant;

use rustix::event::PollFlags;
use shmpipe::{Consumer, Occupant, PeekError};

use crate::args::StreamArgs;
use crate::exit::{Code, Failure};
use crate::send::make_if_missing;
use crate::signals::Signals;
use crate::stream::{LOOK, Stream};

pub(crate) fn run(args: &StreamArgs) -> Result<(), Failure> {
    let signals = Signals::catch()?;
    signals.end(receive(args, &signals))
}

/// Has let go of the ring when it returns.
fn receive(args: &StreamArgs, signals: &Signals) -> Result<(), Failure> {
    let stdout = Stream::stdout()?;
    let mut options = args.options();
    options.cancel_on(Arc::clone(&signals.flag));
    let mut consumer = match args.path() {
        Some(path) => {
            make_if_missing(path)?;
            options.consumer(path)?
        }
        None => options.consumer_from_parent()?,
    };
    copy(&mut consumer, &stdout, signals)?;
    signals.check()?;
    Ok(consumer.close()?)
}

/// What stdout has not taken stays in the ring.
fn copy(consumer: &mut Consumer, stdout: &Stream, signals: &Signals) -> Result<(), Failure> {
    let most = stdout.most(consumer.capacity());
    while has_bytes(consumer, stdout)? {
        loop {
            signals.check()?;
            if stdout.may_block() && !stdout.is_ready(PollFlags::OUT)? {
                continue;
            }
            match stdout.moved(consumer.drain_to(stdout, most))? {
                Some(_) => break,
                None => stdout.is_ready(PollFlags::OUT)?,
            };
        }
    }
    Ok(())
}

/// Waits for bytes; `false` at the end of the stream. A stdout that nobody
/// reads ends the wait, even if nothing comes.
fn has_bytes(consumer: &mut Consumer, stdout: &Stream) -> Result<bool, Failure> {
    let start = Instant::now();
    let limit = consumer.timeout();
    loop {
        let wait = limit.map_or(LOOK, |limit| {
            LOOK.min(limit.saturating_sub(start.elapsed()))
        });
        match consumer.peek_deadline(1, Instant::now() + wait) {
            Ok(_) => return Ok(true),
            Err(PeekError::Ended { .. }) => return Ok(false),
            Err(PeekError::TimedOut { .. }) if stdout.is_broken() => {
                return Err(Failure::stdout_closed());
            }
            Err(PeekError::TimedOut { .. })
                if limit.is_some_and(|limit| start.elapsed() >= limit) =>
            {
                let waited = limit.unwrap_or_default();
                let writer = match consumer.peer() {
                    Occupant::Process(pid) => format!("the producer is process {pid}"),
                    _ => "there is no producer".to_owned(),
                };
                return Err(Failure::new(
                    Code::TimedOut,
                    format_args!("timed out after {waited:?}: no byte to read, and {writer}"),
                ));
            }
            Err(PeekError::TimedOut { .. }) => {}
            Err(error) => return Err(Failure::stream(error.into())),
        }
    }
}
