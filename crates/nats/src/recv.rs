//! The receiver: from the stream to a ring.

use std::collections::VecDeque;
use std::ops::Range;
use std::path::Path;
use std::time::{Duration, Instant};

use async_nats::Message;
use async_nats::jetstream::stream::{DeleteMessageErrorKind, Stream};
use async_nats::jetstream::{self, Context};
use futures_util::StreamExt;
use shmpipe::Options;

use crate::broker;
use crate::destination::Destination;
use crate::error::{Error, Failure};
use crate::link::{Link, Pauses};
use crate::log::{LogError, Reader, Step};
use crate::pull::Pull;
use crate::settings::Name;

/// How often the log is trimmed while little comes, and by how many bytes otherwise.
const TRIM: Duration = Duration::from_millis(500);
const TRIM_BYTES: u64 = 4 << 20;
/// The first server whose purge survives a kill: earlier ones rewrite a file in place.
const SAFE_PURGE: (i64, i64, i64) = (2, 12, 3);
/// Single messages that are deleted at a time, at an earlier server.
const DELETES: usize = 64;

/// What a receiver is asked for.
#[derive(Clone, Debug)]
pub struct RecvOptions {
    /// The stream.
    pub name: Name,
    /// Begin at whatever the log begins with, in a ring that has received nothing yet.
    pub joins: bool,
    /// Continue after lost bytes or ends, and in a new ring. The stream that misses bytes is
    /// broken off.
    pub accepts_loss: bool,
    /// Trim the log: the broker may forget what the ring's reader has released.
    pub trims: bool,
    /// Stop after this many ends of streams.
    pub ends: Option<u64>,
    /// How long a broker without JetStream or without the stream is waited for at the
    /// start. `None`: for as long as it takes.
    pub patience: Option<Duration>,
}

impl RecvOptions {
    /// The defaults: the receiver stops at a loss, trims the log, and runs until an error.
    #[must_use]
    pub fn new(name: Name) -> RecvOptions {
        RecvOptions {
            name,
            joins: false,
            accepts_loss: false,
            trims: true,
            ends: None,
            patience: None,
        }
    }
}

/// Receives into the ring of `path`, which is opened with `ring`, until an error, or the
/// last of [`RecvOptions::ends`]. The future can be dropped at any time: the ring is left
/// without an end, and the next receiver continues. A file beside the path, with `.nats`
/// added to its name, says what the ring is a copy of.
///
/// `notice` is called for each message that is no record, and for each loss that is accepted.
/// It is also called for each temporary failure, such as a broker that does not answer.
///
/// # Errors
///
/// [`Error`]; the log keeps what the ring did not get.
pub async fn recv(
    link: &Link,
    path: &Path,
    ring: &Options,
    options: &RecvOptions,
    notice: impl FnMut(&str),
) -> Result<(), Error> {
    let destination = Destination::open(path, ring, &options.name, options.accepts_loss).await?;
    let receiver = Receiver {
        context: link.context(),
        link,
        options,
        notice,
        destination,
        started: false,
        gap: None,
        ended: 0,
    };
    tokio::select! {
        biased;
        error = link.forbidden() => Err(error),
        received = receiver.run() => received,
    }
}

struct Receiver<'a, N> {
    link: &'a Link,
    options: &'a RecvOptions,
    notice: N,
    context: Context,
    destination: Destination,
    started: bool,
    /// What is missing in the log, as the last pass found.
    gap: Option<LogError>,
    ended: u64,
}

impl<N: FnMut(&str)> Receiver<'_, N> {
    async fn run(mut self) -> Result<(), Error> {
        let (start, mut pauses) = (Instant::now(), Pauses::new());
        let mut restored = self.link.restored();
        loop {
            let before = self.destination.position();
            let passed = tokio::select! {
                passed = self.pass() => passed,
                why = restored.next() => Err(why),
            };
            let failure = match passed {
                Ok(()) => return Ok(()),
                Err(failure) => failure,
            };
            let patience = self.options.patience;
            let waits = !self.started && patience.is_none_or(|most| start.elapsed() < most);
            let why = match failure {
                // A sender has yet to create the stream.
                Failure::Fatal(error @ Error::NoStream(_)) if self.started || waits => {
                    error.to_string()
                }
                Failure::Fatal(error) => return Err(error),
                Failure::Again(why) if why.contains("no JetStream") && !self.started && !waits => {
                    return Err(Error::NoJetStream(why));
                }
                Failure::Again(why) => why,
            };
            (self.notice)(&why);
            if self.destination.position() != before {
                pauses.reset();
            }
            pauses.pause().await;
        }
    }

    /// Reads the log from its first record on, until an error or the last of `ends`.
    async fn pass(&mut self) -> Result<(), Failure> {
        self.destination.look(); // the last pass may have been dropped in mid-record
        let name = &self.options.name;
        let asked = Instant::now();
        let info = broker::find(&self.context, name, None).await?;
        let created = info.created.to_string();
        let handle = broker::handle(&self.context, name).await?;
        let mut pull = Pull::start(self.link, &self.context, &handle, asked).await?;
        self.started = true;
        let mut reader = Reader::new(self.destination.copied(&created));
        let mut trim = Trim::new(info.state.first_sequence);
        loop {
            let message = tokio::select! {
                biased;
                message = pull.next() => message?,
                () = tokio::time::sleep(TRIM) => None,
            };
            if let Some((sequence, message)) = message {
                let kept = self.take(&mut reader, sequence, &message, &created).await?;
                pull.was_away(); // a full ring may have held this up for long
                if kept {
                    trim.applied(sequence, self.destination.position());
                }
                if self.options.ends.is_some_and(|ends| self.ended >= ends) {
                    return Ok(());
                }
            }
            if self.options.trims && self.gap.is_none() {
                self.trim(&handle, &mut trim).await?;
            }
        }
    }

    /// Applies a message. Returns whether it is a record that counts.
    async fn take(
        &mut self,
        reader: &mut Reader,
        sequence: u64,
        message: &Message,
        created: &str,
    ) -> Result<bool, Failure> {
        let len = message.payload.len();
        let (name, headers) = (&self.options.name, message.headers.as_ref());
        let Some(record) = broker::record(name, sequence, &message.subject, headers, len)? else {
            (self.notice)(&format!(
                "message {sequence} is no record of a relay: it is passed over"
            ));
            return Ok(false);
        };
        let mut joins = self.options.joins;
        loop {
            let step = match reader.read(sequence, &record, joins) {
                Ok(step) => step,
                // A consumer may skip messages that are there: the next pass looks again.
                Err(error) if self.gap != Some(error) => {
                    self.gap = Some(error);
                    return Err(Failure::again(error));
                }
                Err(error) if self.options.accepts_loss => {
                    (self.notice)(&format!("accepted: {error}"));
                    reader.forget();
                    joins = true;
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            match step {
                Step::Nothing => return Ok(reader.counts(&record)),
                Step::Begin { nonce, at } => {
                    self.destination.begin(nonce, at, sequence, created).await?;
                    if record.kind.is_claim() {
                        return Ok(true);
                    }
                    continue; // the record is applied in the next turn
                }
                Step::Append { skip } => {
                    let bytes = message.payload.get(skip..).unwrap_or_default();
                    self.gap = None;
                    self.destination.append(bytes).await?;
                }
                Step::End(ending) => {
                    self.destination.end(ending).await?;
                    self.ended += 1;
                }
                Step::Lost => self.destination.lost().await?,
            }
            return Ok(true);
        }
    }

    /// Trims the log up to the last record whose bytes the ring's reader has released.
    /// That record stays, and so the first record in the log is always one that counts.
    async fn trim(&mut self, stream: &Stream<()>, trim: &mut Trim) -> Result<(), Failure> {
        if trim.last.elapsed() < TRIM && self.destination.position() < trim.at + TRIM_BYTES {
            return Ok(());
        }
        trim.last = Instant::now();
        trim.at = self.destination.position();
        let consumed = self.destination.consumed()?;
        let mut to = None;
        while let Some(&(sequence, end)) = trim.applied.front() {
            if end > consumed {
                break;
            }
            to = Some(sequence);
            trim.applied.pop_front();
        }
        let Some(sequence) = to.filter(|&sequence| sequence > trim.first) else {
            return Ok(());
        };
        let (major, minor, patch) = SAFE_PURGE;
        if self.link.client().is_server_compatible(major, minor, patch) {
            purge(stream, sequence).await?;
        } else {
            delete(stream, trim.first..sequence).await?;
        }
        trim.first = sequence;
        Ok(())
    }
}

async fn purge(stream: &Stream<()>, sequence: u64) -> Result<(), Failure> {
    let purged = stream.purge().sequence(sequence).await;
    purged.map(drop).map_err(|error| match error.kind() {
        jetstream::stream::PurgeErrorKind::JetStream(error) => broker::judge(error),
        _ => Failure::again(error),
    })
}

/// Deletes messages one by one, as the broker's own limits do.
async fn delete(stream: &Stream<()>, sequences: Range<u64>) -> Result<(), Failure> {
    let deletes = futures_util::stream::iter(sequences).map(|sequence| async move {
        match stream.delete_message(sequence).await {
            Ok(_) => Ok(()),
            // The message is not there.
            Err(error) if matches!(error.kind(), DeleteMessageErrorKind::JetStream(_)) => Ok(()),
            Err(error) => Err(Failure::again(error)),
        }
    });
    let mut deletes = deletes.buffered(DELETES);
    while let Some(deleted) = deletes.next().await {
        deleted?;
    }
    Ok(())
}

/// The records that can be trimmed once the ring's reader has released their bytes.
struct Trim {
    /// Sequences of records, and where they end in the ring.
    applied: VecDeque<(u64, u64)>,
    /// The first sequence that the log has, as far as known.
    first: u64,
    /// When a trim was last tried, and the ring's position then.
    last: Instant,
    at: u64,
}

impl Trim {
    fn new(first: u64) -> Trim {
        Trim {
            applied: VecDeque::new(),
            first,
            last: Instant::now(),
            at: 0,
        }
    }

    /// Notes a record. Keeps few of them: one in 64 KiB, beyond the first thousand.
    fn applied(&mut self, sequence: u64, end: u64) {
        let len = self.applied.len();
        if len >= 1024 && self.applied[len - 2].1 + (64 << 10) > end {
            self.applied.pop_back();
        }
        self.applied.push_back((sequence, end));
    }
}
