//! The peers as processes, one for each language.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{ChildStdout, Command, Stdio};
use std::sync::OnceLock;

use crate::common::{Exec, TempPath, case_not_run};
use crate::library::{Crc, PERIOD, table};

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

/// Says that a peer is left out.
fn not_run(peer: &str, why: &str) {
    case_not_run(&format!("peers in {peer}"), why);
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

    pub(crate) fn pid(&self) -> u32 {
        self.exec.pid()
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

    /// Whether the peer has ended, however it did.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.exec.has_ended()
    }

    pub(crate) fn kill(&mut self) {
        self.exec.kill();
        self.ended();
    }

    fn drain(&mut self) {
        let _ = self.output.read_to_end(&mut vec![]); // a killed peer may end in mid-line
    }
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
