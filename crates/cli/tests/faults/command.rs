//! The command, while its system calls fail, with a healthy one at the other
//! end of the ring.

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::{TempPath, until};
use crate::scenario::{self, KEPT};
use crate::supervisor::{Fault, Line, Seen, Supervisor, scratch, submit, written};
use crate::sweep::{Counts, HANG, Run};
use crate::table::{CALLS, denies};

/// What stdin or stdout is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Pipe,
    Socket,
}

/// What a verb is run for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Send(Kind),
    Recv(Kind),
    Keep,
    Fetch,
    Demo,
    List,
    Remove,
    RemoveStale,
}

pub(crate) const VERBS: [(&str, Verb); 12] = [
    ("send-file", Verb::Send(Kind::File)),
    ("send-pipe", Verb::Send(Kind::Pipe)),
    ("send-socket", Verb::Send(Kind::Socket)),
    ("recv-file", Verb::Recv(Kind::File)),
    ("recv-pipe", Verb::Recv(Kind::Pipe)),
    ("recv-socket", Verb::Recv(Kind::Socket)),
    ("send-persist", Verb::Keep),
    ("recv-persist", Verb::Fetch),
    ("demo", Verb::Demo),
    ("ls", Verb::List),
    ("rm", Verb::Remove),
    ("rm-stale", Verb::RemoveStale),
];

impl Verb {
    pub(crate) fn keeps(self) -> bool {
        matches!(
            self,
            Verb::Keep | Verb::Fetch | Verb::List | Verb::Remove | Verb::RemoveStale
        )
    }

    fn arguments<'a>(self, path: &'a str, limit: &'a str) -> Vec<&'a str> {
        let stream = ["--timeout", limit, "--capacity", "4KiB"];
        match self {
            Verb::Send(_) => [&["send", path], &stream[..]].concat(),
            Verb::Recv(_) => [&["recv", path], &stream[..]].concat(),
            Verb::Keep => [&["send", path, "--persist"], &stream[..]].concat(),
            Verb::Fetch => [&["recv", path, "--persist"], &stream[..]].concat(),
            Verb::Demo => "demo --bytes 64KiB --capacity 4KiB --block 1KiB --rounds 1"
                .split(' ')
                .collect(),
            Verb::List => vec!["ls", "-b"],
            Verb::Remove => vec!["rm", path],
            Verb::RemoveStale => vec!["rm", "--stale"],
        }
    }

    fn input(self) -> Vec<u8> {
        match self {
            Verb::Send(_) => bytes(),
            Verb::Keep => kept(),
            _ => vec![],
        }
    }
}

/// So few that a socket takes them all, a kilobyte at a time.
fn bytes() -> Vec<u8> {
    scenario::bytes()[..20_000].to_vec()
}

fn kept() -> Vec<u8> {
    bytes()[..KEPT].to_vec()
}

/// Exit code (negative: the signal), stdout, stderr.
type Ended = (i32, Vec<u8>, String);

/// A running command, killed and reaped with the test.
struct Running {
    child: Child,
    stdout: Output,
    stderr: File,
}

enum Output {
    File(File),
    /// Our end, read at the end of the process: it holds all there can be.
    Stream(File),
}

impl Output {
    fn bytes(self) -> Vec<u8> {
        match self {
            Output::File(file) => written(file),
            Output::Stream(mut stream) => {
                let mut bytes = vec![];
                std::io::Read::read_to_end(&mut stream, &mut bytes).unwrap();
                bytes
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Most have ended and are reaped.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A pipe that holds a megabyte, so that nobody waits for its other end.
fn wide_pipe() -> (File, File) {
    let (reader, writer) = std::io::pipe().unwrap();
    // SAFETY: integers.
    unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_SETPIPE_SZ, 1 << 20) };
    (OwnedFd::from(reader).into(), OwnedFd::from(writer).into())
}

fn socket() -> (File, File) {
    let ends: (UnixStream, UnixStream) = UnixStream::pair().unwrap();
    [ends.0, ends.1].map(OwnedFd::from).map(File::from).into()
}

impl Running {
    /// Under a filter that sends its listener on the line, if there is one.
    fn new(
        arguments: &[&str],
        (input, stdin): (&[u8], Kind),
        stdout: Kind,
        filter: Option<(Option<usize>, &Line)>,
    ) -> Running {
        let stdin = match stdin {
            Kind::File => scratch(input),
            kind => {
                let (reader, mut writer) = if kind == Kind::Pipe {
                    wide_pipe()
                } else {
                    socket()
                };
                std::io::Write::write_all(&mut writer, input).unwrap();
                reader
            }
        };
        let (ours, theirs) = match stdout {
            Kind::File => {
                let file = scratch(b"");
                (Output::File(file.try_clone().unwrap()), file)
            }
            kind => {
                let (reader, writer) = if kind == Kind::Pipe {
                    wide_pipe()
                } else {
                    socket()
                };
                (Output::Stream(reader), writer)
            }
        };
        let stderr = scratch(b"");
        let mut command = Command::new(env!("CARGO_BIN_EXE_shmpipe"));
        command
            .args(arguments)
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::from(stdin))
            .stdout(Stdio::from(theirs))
            .stderr(Stdio::from(stderr.try_clone().unwrap()));
        let filter = filter.map(|(call, line)| (call, line.end()));
        let before_exec = move || {
            // SAFETY: integers. Goes with the test, even one that is killed.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
            match filter {
                Some((call, line)) if !submit(call, line) => {
                    Err(std::io::Error::from_raw_os_error(libc::ENOSYS))
                }
                _ => Ok(()),
            }
        };
        // SAFETY: system calls alone, on memory of its own.
        unsafe { command.pre_exec(before_exec) };
        Running {
            child: command.spawn().unwrap(),
            stdout: ours,
            stderr,
        }
    }

    fn ended_within(&mut self, limit: Duration) -> bool {
        let start = Instant::now();
        until(|| self.child.try_wait().unwrap().is_some() || start.elapsed() > limit);
        self.child.try_wait().unwrap().is_some()
    }

    fn end(mut self) -> Ended {
        use std::os::unix::process::ExitStatusExt;
        let status = self.child.wait().unwrap();
        let code = status.code().or(status.signal().map(|signal| -signal));
        let nothing = scratch(b"");
        let stdout = std::mem::replace(&mut self.stdout, Output::File(nothing)).bytes();
        let stderr = self.stderr.try_clone().unwrap();
        let stderr = String::from_utf8_lossy(&written(stderr)).into_owned();
        (code.unwrap(), stdout, stderr)
    }
}

/// How often each call is made before `main`.
pub(crate) fn at_start() -> Option<Counts> {
    let line = Line::new();
    let filter = Some((None, &line));
    let running = Running::new(&["--version"], (b"", Kind::File), Kind::File, filter);
    let mut seen = Supervisor::new(line, None, true)?.serve(HANG);
    assert_eq!(running.end().0, 0);
    for (call, count) in CALLS.iter().zip(&mut seen.counts) {
        if matches!(call.name, "write" | "readv-writev") {
            *count = 0; // the version itself
        }
    }
    Some(seen.counts)
}

/// A command that no call fails, with files as its stdin and stdout.
fn healthy(arguments: &[&str], input: &[u8]) -> Running {
    Running::new(arguments, (input, Kind::File), Kind::File, None)
}

/// What a verb needs: a healthy command at the other end, or a ring with bytes.
fn prepare(verb: Verb, path: &str, limit: &str) -> Option<Running> {
    match verb {
        Verb::Send(_) => {
            let receiver = Verb::Recv(Kind::File).arguments(path, limit);
            Some(healthy(&receiver, b""))
        }
        Verb::Recv(_) => {
            let sender = Verb::Send(Kind::File).arguments(path, limit);
            Some(healthy(&sender, &bytes()))
        }
        Verb::Fetch | Verb::List | Verb::Remove | Verb::RemoveStale => {
            let arguments = Verb::Keep.arguments(path, "60s");
            assert_eq!(healthy(&arguments, &kept()).end().0, 0);
            None
        }
        Verb::Keep | Verb::Demo => None,
    }
}

/// Runs a verb, with a fault or to count its calls.
pub(crate) fn run(verb: Verb, path: &Path, fault: Option<Fault>, limit: Duration) -> Option<Run> {
    let mut wrong = vec![];
    let path = path.to_str().unwrap();
    let limit = format!("{}ms", limit.as_millis());
    let mut peer = prepare(verb, path, &limit);
    let line = Line::new();
    let (stdin, stdout) = match verb {
        Verb::Send(kind) => (kind, Kind::File),
        Verb::Recv(kind) => (Kind::File, kind),
        _ => (Kind::File, Kind::File),
    };
    let filter = Some((fault.map(|fault| fault.call), &line));
    let arguments = verb.arguments(path, &limit);
    let mut target = Running::new(&arguments, (&verb.input(), stdin), stdout, filter);
    let seen = Supervisor::new(line, fault, true)?.serve(HANG);
    if seen.hung {
        wrong.push("hangs".to_owned());
        let _ = target.child.kill();
    }
    if let Some(peer) = &mut peer
        && !peer.ended_within(HANG)
    {
        wrong.push("the healthy side hangs".to_owned());
        let _ = peer.child.kill();
    }
    let (code, stdout, stderr) = target.end();
    wrong.extend(is_no_end(code, &stderr, &seen));
    let peer = peer.map(Running::end);
    let done = code == 0;
    // That there is no ring, or none of ours.
    let told = fault.is_some_and(denies);
    wrong.extend(match (verb, peer) {
        (Verb::Send(_), Some(peer)) => wrong_of_receiver(peer, done),
        (Verb::Keep | Verb::Fetch, _) => wrong_of_kept(verb, path, done, &stdout),
        _ if done => wrong_of_success(verb, path, told, &stdout),
        _ => vec![],
    });
    Some(Run {
        seen,
        wrong,
        done,
        said: format!("exit {code}: {}", stderr.trim_end()),
    })
}

/// Runs a sender with this fault, and starts a healthy receiver once the sender has made
/// the ring. Returns how the two ended. `None` where the kernel has no such filters.
pub(crate) fn send_first(path: &TempPath, fault: Fault) -> Option<[Ended; 2]> {
    let name = path.to_str().unwrap();
    let line = Line::new();
    let (send, recv) = (Verb::Send(Kind::File), Verb::Recv(Kind::File));
    let filter = Some((Some(fault.call), &line));
    let sender = Running::new(
        &send.arguments(name, "20s"),
        (&bytes(), Kind::File),
        Kind::File,
        filter,
    );
    let supervisor = Supervisor::new(line, Some(fault), true)?;
    let receiver = std::thread::scope(|scope| {
        let supervisor = scope.spawn(|| supervisor.serve(HANG));
        let start = Instant::now();
        while !path.leads_to_a_segment() && start.elapsed() < HANG {
            std::thread::sleep(Duration::from_millis(1));
        }
        // Of this thread, with which a command goes.
        let receiver = healthy(&recv.arguments(name, "20s"), b"");
        let seen = supervisor.join().unwrap();
        assert!(!seen.hung);
        assert_eq!(seen.failed.len(), 1, "the fault was met");
        receiver
    });
    Some([sender.end(), receiver.end()])
}

/// What is wrong with how the healthy receiver ended; whether the sender is done.
fn wrong_of_receiver((code, received, error): Ended, done: bool) -> Vec<String> {
    let mut wrong = vec![];
    if code == 0 && received != bytes() {
        wrong.push("the healthy receiver ends well without all bytes".to_owned());
    }
    if done && code != 0 {
        wrong.push(format!("exit 0, and the healthy receiver says: {error}"));
    }
    wrong
}

/// What is wrong with what a persistent ring holds, after this came out of it.
fn wrong_of_kept(verb: Verb, path: &str, done: bool, stdout: &[u8]) -> Vec<String> {
    let mut wrong = vec![];
    let arguments = Verb::Fetch.arguments(path, "50ms");
    let (_, rest, _) = healthy(&arguments, b"").end();
    let all = [stdout, &rest].concat();
    let may_be_less = verb == Verb::Keep && !done;
    if !(all == kept() || may_be_less && kept().starts_with(&all)) {
        let (out, rest) = (stdout.len(), rest.len());
        wrong.push(format!("{out} bytes came out, and {rest} were left"));
    }
    if verb == Verb::Fetch && done && stdout != kept() {
        wrong.push("exit 0 without all bytes".to_owned());
    }
    wrong
}

/// What a verb that ended well has not done. `told`: that there is no ring.
fn wrong_of_success(verb: Verb, path: &str, told: bool, stdout: &[u8]) -> Vec<String> {
    let shown = String::from_utf8_lossy(stdout);
    let wrong = match verb {
        Verb::Recv(_) if stdout != bytes() => "exit 0 without all bytes".to_owned(),
        Verb::Demo if !shown.contains("every byte verified") || !shown.contains("pipe") => {
            format!("exit 0, and shows: {shown}")
        }
        Verb::List if !told && !shown.contains("4096") => "exit 0 without the ring".to_owned(),
        Verb::Remove if !told && shmpipe::Options::new().force_remove(path).is_ok() => {
            "exit 0, and the ring is there".to_owned()
        }
        _ => return vec![],
    };
    vec![wrong]
}

/// What is wrong with how a command ended, whatever it did.
fn is_no_end(code: i32, stderr: &str, seen: &Seen) -> Option<String> {
    // What Rust does where there is no memory, and for the signals of a thread none.
    let no_stack = "failed to allocate an alternative stack";
    let of_memory = stderr.contains("memory allocation of") || stderr.contains(no_stack);
    if stderr.contains("panicked") && !of_memory {
        return Some(format!("panics: {stderr}"));
    }
    match code {
        0 | 1 | 3..=7 => {}
        _ if of_memory && -code == libc::SIGABRT => return None,
        // Nobody reads stdout any more.
        _ if -code == libc::SIGPIPE && stderr.is_empty() => return None,
        _ if seen.hung => return None,
        _ => return Some(format!("ends by {code}: {stderr}")),
    }
    let lines = stderr.lines().count();
    let may_be_mute = seen
        .failed
        .iter()
        .any(|(number, _)| [libc::SYS_write, libc::SYS_writev].contains(number));
    (code != 0 && lines != 1 && !may_be_mute).then(|| format!("exit {code} with: {stderr}"))
}
