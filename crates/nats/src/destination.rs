//! The ring that a receiver writes to, and the file beside it.
//!
//! The file maps places of the source ring to places of this one. The file changes when a
//! source begins, and when a producer dies before a byte of its stream comes here. The
//! receiver's position is the ring's tail, so it is exact after a crash.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use shmpipe::asynchronous::AsyncProducer;
use shmpipe::{OpenError, Options, Producer, TryWriteError};

use crate::error::{Error, Failure};
use crate::log::Copied;
use crate::record::{Ending, Place};
use crate::settings::Name;

/// The pause between attempts to open the ring.
const PAUSE: Duration = Duration::from_millis(20);

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct State {
    stream: String,
    /// When the stream was created. Sequences of another stream mean nothing here.
    created: String,
    /// The nonce of this ring.
    ring: u64,
    /// The nonce of the source ring.
    source: u64,
    /// The sequence of the record that began the copy.
    began: u64,
    /// A place of the source ring.
    from: Place,
    /// The place of this ring that stands for `from`.
    to: Place,
}

impl State {
    fn to_text(&self) -> String {
        let mut text = String::from("shmpipe-nats 1\n");
        let numbers = [
            ("began", self.began),
            ("from-position", self.from.position),
            ("from-stream", self.from.stream),
            ("to-position", self.to.position),
            ("to-stream", self.to.stream),
        ];
        let _ = writeln!(text, "stream {}", self.stream); // a String takes it
        let _ = writeln!(text, "created {}", self.created);
        let _ = writeln!(text, "ring {:016x}", self.ring);
        let _ = writeln!(text, "source {:016x}", self.source);
        for (name, number) in numbers {
            let _ = writeln!(text, "{name} {number}");
        }
        text
    }

    fn parse(text: &str) -> Result<State, String> {
        let mut lines = text.lines();
        if lines.next() != Some("shmpipe-nats 1") {
            return Err("it is no state of a receiver of this version".to_owned());
        }
        let find = |name: &str| {
            let value = text
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            value.ok_or_else(|| format!("it has no line {name:?}"))
        };
        let number = |name, radix| {
            let value = find(name)?;
            u64::from_str_radix(value, radix)
                .map_err(|_| format!("its line {name:?} has no number"))
        };
        Ok(State {
            stream: find("stream")?.to_owned(),
            created: find("created")?.to_owned(),
            ring: number("ring", 16)?,
            source: number("source", 16)?,
            began: number("began", 10)?,
            from: Place {
                stream: number("from-stream", 10)?,
                position: number("from-position", 10)?,
            },
            to: Place {
                stream: number("to-stream", 10)?,
                position: number("to-position", 10)?,
            },
        })
    }
}

/// Makes the entry of `file` in its folder durable, as rename(2) alone does not. A folder that
/// cannot be read, or a file system that cannot do this, leaves that to the kernel.
fn sync_entry(file: &Path) -> io::Result<()> {
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    match File::open(folder).and_then(|folder| folder.sync_all()) {
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::PermissionDenied | ErrorKind::InvalidInput
            ) =>
        {
            Ok(())
        }
        synced => synced,
    }
}

/// The ring, and where it stands.
pub(crate) struct Destination {
    options: Options,
    path: PathBuf,
    file: PathBuf,
    name: String,
    producer: Option<AsyncProducer>,
    nonce: u64,
    /// The end of the ring. Kept while no producer is open.
    at: Place,
    /// Bytes of the current stream in the ring.
    in_stream: u64,
    state: Option<State>,
}

impl Destination {
    /// Opens the ring of `path`, and reads the file beside it. `accepts_loss` allows a
    /// ring other than the one that the file names.
    pub(crate) async fn open(
        path: &Path,
        options: &Options,
        name: &Name,
        accepts_loss: bool,
    ) -> Result<Destination, Error> {
        let mut options = options.clone();
        options.persistent(true).timeout(Some(Duration::ZERO));
        let mut file = path.as_os_str().to_owned();
        file.push(".nats");
        let mut destination = Destination {
            options,
            path: path.to_owned(),
            file: file.into(),
            name: name.to_string(),
            producer: None,
            nonce: 0,
            at: Place::START,
            in_stream: 0,
            state: None,
        };
        let producer = destination.claim(true).await?;
        destination.hold(producer);
        destination.load(accepts_loss)?;
        Ok(destination)
    }

    fn wrong(&self, why: impl ToString) -> Error {
        Error::State {
            path: self.file.clone(),
            why: why.to_string(),
        }
    }

    fn load(&mut self, accepts_loss: bool) -> Result<(), Error> {
        let text = match fs::read_to_string(&self.file) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(self.wrong(error)),
        };
        let state = State::parse(&text).map_err(|why| self.wrong(why))?;
        if state.stream != self.name {
            return Err(self.wrong(format!("the ring belongs to stream {}", state.stream)));
        }
        if state.ring == self.nonce {
            if state.to > self.at {
                return Err(self.wrong("it is ahead of the ring"));
            }
            self.state = Some(state);
        } else if !accepts_loss {
            return Err(Error::NewDestination);
        }
        Ok(())
    }

    /// Stores the state, so that it outlives this process and a power failure. The ring does
    /// not outlive a power failure: then the file says that there was one.
    fn store(&mut self, state: State) -> Result<(), Error> {
        let write = || {
            let new = self.file.with_extension("nats-new");
            let mut file = File::create(&new)?;
            file.write_all(state.to_text().as_bytes())?;
            file.sync_all()?;
            fs::rename(&new, &self.file)?;
            sync_entry(&self.file)
        };
        write().map_err(|error| self.wrong(error))?;
        self.state = Some(state);
        Ok(())
    }

    fn hold(&mut self, producer: Producer) {
        self.nonce = producer.nonce();
        self.producer = Some(AsyncProducer::new(producer));
        self.look();
    }

    /// Notes where the ring stands.
    pub(crate) fn look(&mut self) {
        if let Some(producer) = &self.producer {
            let producer = producer.get_ref();
            self.at = Place {
                stream: producer.stream_number(),
                position: producer.position(),
            };
            self.in_stream = producer.stream_position();
        }
    }

    /// Takes the producer's role. Waits for places for ends, and for the lock of the file,
    /// which another opener holds for a moment.
    async fn claim(&mut self, resume: bool) -> Result<Producer, Error> {
        loop {
            match self.options.resume(resume).open_producer(&self.path) {
                Err(OpenError::TooManyEnds { .. } | OpenError::TimedOut { .. }) => {
                    tokio::time::sleep(PAUSE).await;
                }
                opened => return Ok(opened?),
            }
        }
    }

    /// Opens the ring again, if it is not open. Waits for places for ends.
    async fn reopen(&mut self, resume: bool) -> Result<&mut AsyncProducer, Failure> {
        if self.producer.is_none() {
            let producer = self.claim(resume).await?;
            let is_new = producer.nonce() != self.nonce;
            self.hold(producer);
            if is_new {
                return Err(Error::NewDestination.into());
            }
        }
        match &mut self.producer {
            Some(producer) => Ok(producer),
            None => Err(Failure::again("the ring is not open")),
        }
    }

    /// The copy that the ring has. `began` is 0 if the stream was recreated since.
    pub(crate) fn copied(&self, created: &str) -> Option<Copied> {
        let state = self.state.as_ref()?;
        let from = |from: u64, to: u64, at: u64| from.wrapping_add(at.wrapping_sub(to));
        Some(Copied {
            nonce: state.source,
            at: Place {
                stream: from(state.from.stream, state.to.stream, self.at.stream),
                position: from(state.from.position, state.to.position, self.at.position),
            },
            began: if state.created == created {
                state.began
            } else {
                0
            },
        })
    }

    /// The position of the ring's end.
    pub(crate) fn position(&self) -> u64 {
        self.at.position
    }

    /// The position up to which the ring's reader has released bytes.
    pub(crate) fn consumed(&mut self) -> Result<u64, Failure> {
        if let Some(producer) = &mut self.producer {
            return Ok(producer.get_mut().consumed()?);
        }
        let ring = self.options.snapshot(&self.path)?;
        if ring.nonce != self.nonce {
            return Err(Error::NewDestination.into());
        }
        Ok(ring.written.wrapping_sub(ring.fill as u64))
    }

    /// Begins the copy of a source at this place. Breaks off the stream in the ring.
    pub(crate) async fn begin(
        &mut self,
        source: u64,
        from: Place,
        began: u64,
        created: &str,
    ) -> Result<(), Failure> {
        self.break_off().await?;
        self.store(State {
            stream: self.name.clone(),
            created: created.to_owned(),
            ring: self.nonce,
            source,
            began,
            from,
            to: self.at,
        })?;
        Ok(())
    }

    /// Appends bytes. Waits for room, and writes what fits meanwhile.
    pub(crate) async fn append(&mut self, mut bytes: &[u8]) -> Result<(), Failure> {
        let producer = self.reopen(true).await?;
        let most = (producer.get_ref().capacity() / 4).max(1);
        while !bytes.is_empty() {
            match producer.get_mut().try_write(bytes) {
                Ok(len) => bytes = &bytes[len..],
                Err(TryWriteError::Full) => {
                    let room = producer.writable(bytes.len().min(most)).await;
                    room.map_err(|error| match shmpipe::Broken::find(&error) {
                        Some(broken) => Failure::from(broken.clone()),
                        None => Failure::again(error),
                    })?;
                }
                Err(TryWriteError::Broken(broken)) => return Err(broken.into()),
            }
        }
        self.look();
        Ok(())
    }

    /// Ends the stream in the ring as it ended at its source.
    pub(crate) async fn end(&mut self, ending: Ending) -> Result<(), Failure> {
        match ending {
            Ending::Finished => {
                let producer = self.reopen(true).await?.get_mut();
                producer.close().map_err(Failure::again)?;
            }
            Ending::Aborted => self.reopen(true).await?.get_mut().abort(),
            Ending::Died => {
                self.look();
                if self.in_stream == 0 {
                    // No byte of the stream came here, so its death leaves no end either.
                    if let Some(mut state) = self.state.clone() {
                        state.from.stream += 1;
                        self.store(state)?;
                    }
                    return Ok(());
                }
                return self.break_off().await;
            }
        }
        self.producer = None;
        self.at.stream += 1;
        self.in_stream = 0;
        Ok(())
    }

    /// Passes on that the producer is dead, and its stream not over.
    pub(crate) async fn lost(&mut self) -> Result<(), Failure> {
        self.reopen(true).await?;
        self.leave();
        Ok(())
    }

    /// Breaks the current stream off, as its producer's death would, if the stream has bytes.
    async fn break_off(&mut self) -> Result<(), Failure> {
        self.look();
        if self.in_stream > 0 {
            self.leave();
            self.reopen(false).await?;
        }
        Ok(())
    }

    /// Leaves the ring without an end: the stream continues.
    fn leave(&mut self) {
        self.look();
        if let Some(producer) = self.producer.take() {
            producer.into_inner().abandon();
        }
    }
}

impl Drop for Destination {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        State {
            stream: "orders".to_owned(),
            created: "2026-11-29T03:00:00Z".to_owned(),
            ring: 0xabc,
            source: u64::MAX,
            began: 7,
            from: Place {
                stream: 1,
                position: u64::MAX,
            },
            to: Place::START,
        }
    }

    #[test]
    fn the_file_says_what_it_was_told() {
        assert_eq!(State::parse(&state().to_text()), Ok(state()));
    }

    #[test]
    fn the_entry_of_a_file_is_synced_in_any_folder() {
        for file in ["x.nats", "./x.nats", "src/x.nats", "/x.nats"] {
            let synced = sync_entry(Path::new(file));
            assert!(synced.is_ok(), "{file}: {synced:?}");
        }
        let missing = sync_entry(Path::new("no-such-folder/x.nats"));
        assert_eq!(missing.unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[test]
    fn a_damaged_file_is_named_and_not_guessed_at() {
        let text = state().to_text();
        assert!(State::parse("").unwrap_err().contains("version"));
        assert!(State::parse(&text.replace(" 1\n", " 2\n")).is_err());
        for name in [
            "stream",
            "created",
            "ring",
            "source",
            "began",
            "from-position",
            "to-stream",
        ] {
            let without: Vec<&str> = text
                .lines()
                .filter(|line| !line.starts_with(&format!("{name} ")))
                .collect();
            let why = State::parse(&without.join("\n")).unwrap_err();
            assert!(why.contains(name), "{why}");
        }
        assert!(
            State::parse(&text.replace("began 7", "began x"))
                .unwrap_err()
                .contains("began")
        );
    }
}
