//! The peers as processes, one for each language.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use crate::common::{Exec, TempPath, kill_self, stream};
use shmpipe::{Broken, Consumer, OpenError, Options, Producer};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    Rust,
    C,
    Python,
}

pub(crate) use Language::{C, Python, Rust};

/// The languages whose tools are there.
pub(crate) fn languages() -> Vec<Language> {
    let has = |language: &Language| match language {
        Rust => true,
        C => c_peer().is_some(),
        Python => has_python(),
    };
    [Rust, C, Python].into_iter().filter(has).collect()
}

/// Every pair of a producer and a consumer, but for two of Rust.
pub(crate) fn pairs() -> Vec<(Language, Language)> {
    let all = languages();
    let both = |&producer| all.iter().map(move |&consumer| (producer, consumer));
    let pairs = all.iter().flat_map(both);
    pairs.filter(|&pair| pair != (Rust, Rust)).collect()
}

/// Says that a peer is left out, also to `.ci/not-run`.
fn not_run(peer: &str, why: &str) {
    let line = format!("peers in {peer}: {why}\n");
    print!("not run: {line}");
    if let Some(list) = std::env::var_os("SHMPIPE_NOT_RUN") {
        let file = OpenOptions::new().append(true).create(true).open(list);
        let _ = file.and_then(|mut file| file.write_all(line.as_bytes())); // it was said already
    }
}

fn source(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/peers")
        .join(name)
}

/// The C peer, compiled once for each process.
fn c_peer() -> Option<&'static PathBuf> {
    static PEER: OnceLock<Option<PathBuf>> = OnceLock::new();
    let compile = || {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        let made = folder.join(format!("peer-{}", std::process::id()));
        let flags = [
            "-std=c11",
            "-O2",
            "-Wall",
            "-Wextra",
            "-Wpedantic",
            "-Werror",
            "-o",
        ];
        let done = Command::new("cc")
            .args(flags)
            .arg(&made)
            .arg(source("peer.c"))
            .output();
        let Ok(done) = done else {
            not_run("C", "there is no cc");
            return None;
        };
        assert!(
            done.status.success(),
            "{}",
            String::from_utf8_lossy(&done.stderr)
        );
        let peer = folder.join("peer"); // the same file again and again
        std::fs::rename(made, &peer).unwrap();
        Some(peer)
    };
    PEER.get_or_init(compile).as_ref()
}

fn has_python() -> bool {
    static HAS: OnceLock<bool> = OnceLock::new();
    *HAS.get_or_init(|| {
        let needs = "import ctypes; ctypes.CDLL('libatomic.so.1')";
        let done = Command::new("python3")
            .args(["-c", needs])
            .stderr(Stdio::null())
            .status();
        let has = done.is_ok_and(|status| status.success());
        if !has {
            not_run(
                "Python",
                "there is no python3 with ctypes and libatomic.so.1",
            );
        }
        has
    })
}

/// A command for the peer of `language`, with these words.
pub(crate) fn command(language: Language, words: &str) -> Command {
    let mut command = match language {
        Rust => return Exec::command("the_rust_peer", words),
        C => Command::new(c_peer().unwrap()),
        Python => Command::new("python3"),
    };
    if language == Python {
        command.arg("-B").arg(source("peer.py"));
    }
    command.args(words.split_whitespace());
    command
}

/// A running peer. Killed with the test.
pub(crate) struct Peer {
    exec: Exec,
    output: BufReader<ChildStdout>,
    name: String,
}

impl Peer {
    pub(crate) fn new(language: Language, words: &str) -> Peer {
        let mut command = command(language, words);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        Peer::of(
            child.stdout.take().unwrap(),
            child,
            &format!("{language:?} {words}"),
        )
    }

    pub(crate) fn of(output: ChildStdout, child: std::process::Child, name: &str) -> Peer {
        Peer {
            exec: child.into(),
            output: BufReader::new(output),
            name: name.to_owned(),
        }
    }

    /// The rest of the line that has `word`. `None` if the peer ends without one.
    pub(crate) fn find(&mut self, word: &str) -> Option<String> {
        let mut line = String::new();
        while self.output.read_line(&mut line).unwrap() > 0 {
            if let Some((_, rest)) = line.split_once(word) {
                return Some(rest.trim().to_owned());
            }
            line.clear();
        }
        None
    }

    #[track_caller]
    pub(crate) fn opened(&mut self) {
        assert!(
            self.find("opened").is_some(),
            "{} has not opened",
            self.name
        );
    }

    /// What the peer says at its end.
    #[track_caller]
    pub(crate) fn said(&mut self) -> String {
        let said = self.find("peer: ");
        said.unwrap_or_else(|| panic!("{} said nothing", self.name))
    }

    /// What the peer says, after it has ended in order.
    #[track_caller]
    pub(crate) fn result(&mut self) -> String {
        let said = self.said();
        self.drain();
        let status = self.exec.wait();
        assert!(status.success(), "{}: {said}: {status}", self.name);
        said
    }

    /// Waits until the peer has ended, however it does.
    pub(crate) fn ended(&mut self) {
        self.drain();
        self.exec.wait();
    }

    pub(crate) fn kill(&mut self) {
        self.exec.kill();
        self.ended();
    }

    fn drain(&mut self) {
        let _ = self.output.read_to_end(&mut vec![]); // a killed peer may end in mid-line
    }
}

/// The length of the table of bytes that is sent again and again: a prime, so that laps of a ring show.
const PERIOD: usize = 65_521;

/// The table, once more than `more` bytes long.
fn table(more: usize) -> Vec<u8> {
    let once = stream(0x5eed, 0, PERIOD);
    let bytes = once.iter().copied().cycle();
    bytes.take(PERIOD + more).collect()
}

/// CRC-32, bit by bit into a table.
struct Crc(Vec<u32>);

impl Crc {
    fn new() -> Crc {
        let of = |byte: u32| (0..8).fold(byte, |crc, _| (crc >> 1) ^ ((crc & 1) * 0xedb8_8320));
        Crc((0..256).map(of).collect())
    }

    fn go_on(&self, crc: u32, bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!crc, |crc, &byte| {
            self.0[(crc as u8 ^ byte) as usize] ^ crc >> 8
        })
    }
}

/// What a peer is told.
struct Words(Vec<(String, String)>);

impl Words {
    fn get<'a>(&'a self, name: &str, default: &'a str) -> &'a str {
        let found = self.0.iter().find(|(word, _)| word == name);
        found.map_or(default, |(_, value)| value)
    }

    fn number(&self, name: &str, default: u64) -> u64 {
        let value = self.get(name, "");
        if value.is_empty() {
            default
        } else {
            value.parse().unwrap()
        }
    }

    fn options(&self) -> Options {
        let mut options = Options::new();
        options
            .timeout(Some(Duration::from_secs(self.number("timeout", 60))))
            .persistent(self.get("kind", "named") == "persistent")
            .resume(self.number("resume", 0) == 1);
        match self.number("capacity", 0) {
            0 => {}
            capacity => drop(options.capacity(capacity as usize)),
        }
        if self.number("wait", 1) == 0 {
            options.wait_for_peer(false);
        }
        options
    }
}

/// Plays the library's peer.
pub(crate) fn play(part: &str) {
    let words = part.split_whitespace().map(|word| {
        let (name, value) = word.split_once('=').unwrap();
        (name.to_owned(), value.to_owned())
    });
    let words = Words(words.collect());
    let (options, path) = (words.options(), words.get("path", ""));
    let id = words.get("id", "").parse().ok();
    match words.get("role", "") {
        "producer" => {
            let opened = match id {
                Some(id) => options.attach(id).and_then(|ring| ring.into_producer()),
                None => options.open_producer(path),
            };
            produce(
                &words,
                opened.unwrap_or_else(|error| give_up(refused(error))),
            );
        }
        "consumer" => {
            let opened = match id {
                Some(id) => options.attach(id).and_then(|ring| ring.into_consumer()),
                None => options.open_consumer(path),
            };
            consume(
                &words,
                opened.unwrap_or_else(|error| give_up(refused(error))),
            );
        }
        role => panic!("no role is called {role}"),
    }
}

/// As the other peers say it.
fn refused(error: OpenError) -> String {
    match error {
        OpenError::RoleTaken { .. } => "the role is taken".to_owned(),
        error => error.to_string(),
    }
}

fn give_up(error: impl std::fmt::Display) -> ! {
    println!("peer: error={error}");
    std::process::exit(1)
}

/// What is left to do after the result was printed.
fn end(words: &Words, finish: impl FnOnce(), abort: impl FnOnce()) {
    match words.get("end", "finish") {
        "kill" => kill_self(),
        "stay" => std::thread::sleep(Duration::from_secs(600)),
        "abort" => abort(),
        _ => finish(),
    }
}

fn produce(words: &Words, mut producer: Producer) {
    println!("opened");
    let (block, total) = (words.number("block", 65_536), words.number("bytes", 0));
    let (table, crc) = (table(block as usize), Crc::new());
    let (mut done, mut digest) = (words.number("start", 0), 0);
    while done < total {
        let at = (done % PERIOD as u64) as usize;
        let bytes = &table[at..][..block.min(total - done) as usize];
        if let Err(error) = producer.write_all(bytes) {
            give_up(match Broken::find(&error) {
                Some(Broken::ConsumerClosed) => "closed".to_owned(),
                Some(Broken::Died { .. }) => "died".to_owned(),
                _ => error.to_string(),
            });
        }
        digest = crc.go_on(digest, bytes);
        done += bytes.len() as u64;
    }
    println!("peer: wrote bytes={done} digest={digest:08x}");
    let producer = std::cell::RefCell::new(producer);
    end(
        words,
        || producer.borrow_mut().close().unwrap(),
        || producer.borrow_mut().abort(),
    );
}

/// Reads one stream. Returns what is to be said about it.
fn read_stream(words: &Words, consumer: &mut Consumer, table: &[u8], crc: &Crc) -> String {
    let (block, total) = (words.number("block", 65_536), words.number("bytes", 0));
    let (mut done, mut digest) = (words.number("start", 0), 0);
    let mut bytes = vec![0; block as usize];
    let ended = loop {
        let left = if total == 0 {
            block
        } else {
            block.min(total - done)
        };
        if left == 0 {
            break "enough";
        }
        match consumer.read(&mut bytes[..left as usize]) {
            Ok(0) => break "finished",
            Ok(len) => {
                let at = (done % PERIOD as u64) as usize;
                if bytes[..len] != table[at..][..len] {
                    give_up(format!("wrong bytes at {done}"));
                }
                digest = crc.go_on(digest, &bytes[..len]);
                done += len as u64;
            }
            Err(error) => match Broken::find(&error) {
                Some(Broken::ProducerAborted) => break "aborted",
                Some(Broken::Died { .. }) => break "died",
                _ => give_up(error),
            },
        }
    };
    format!("{ended} bytes={done} digest={digest:08x}")
}

fn consume(words: &Words, mut consumer: Consumer) {
    println!("opened");
    let (table, crc) = (table(words.number("block", 65_536) as usize), Crc::new());
    let streams = words.number("streams", 1);
    let mut said = vec![];
    for stream in 0..streams {
        said.push(read_stream(words, &mut consumer, &table, &crc));
        if stream + 1 < streams {
            assert_eq!(consumer.next_stream(), Ok(true));
        }
    }
    println!("peer: {}", said.join("; "));
    let consumer = std::cell::RefCell::new(consumer);
    end(
        words,
        || drop(consumer.borrow_mut().close()),
        || consumer.borrow_mut().abort(),
    );
}

/// The digest of the first `len` bytes that are sent.
pub(crate) fn digest(len: u64) -> String {
    let (table, crc) = (table(PERIOD), Crc::new());
    let mut digest = 0;
    for from in (0..len).step_by(PERIOD) {
        digest = crc.go_on(digest, &table[..(len - from).min(PERIOD as u64) as usize]);
    }
    format!("{digest:08x}")
}

/// What a peer says of a stream of `len` bytes that ended like this.
pub(crate) fn outcome(how: &str, len: u64) -> String {
    format!("{how} bytes={len} digest={}", digest(len))
}

/// Runs a producer and a consumer of a named ring of a page, the one with `first` first.
#[track_caller]
pub(crate) fn meet(
    (producer, consumer): (Language, Language),
    first: &str,
    bytes: u64,
    more: &str,
) {
    let path = TempPath::new();
    let shown = path.display();
    let writes = format!("role=producer path={shown} bytes={bytes} {more}");
    let reads = format!("role=consumer path={shown} {more}");
    let start = |role: &str| match role {
        "producer" => Peer::new(producer, &writes),
        _ => Peer::new(consumer, &reads),
    };
    let mut one = start(first);
    crate::common::until(|| path.leads_to_a_segment());
    let mut two = start(if first == "producer" {
        "consumer"
    } else {
        "producer"
    });
    let (one, two) = (one.result(), two.result());
    let (wrote, read) = if first == "producer" {
        (one, two)
    } else {
        (two, one)
    };
    let pair = format!("{producer:?} to {consumer:?}, {first} first");
    assert_eq!(wrote, outcome("wrote", bytes), "{pair}");
    assert_eq!(read, outcome("finished", bytes), "{pair}");
    assert!(!path.leads_to_a_segment(), "{pair}: a segment is left");
}
