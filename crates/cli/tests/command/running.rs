//! Running the command, and seeing how it ends.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use shmpipe::sysv::SegmentId;
use shmpipe::{Occupant, Snapshot};

use crate::common::{PATIENCE, Task, TempPath};

pub(crate) const DONE: Option<i32> = Some(0);
pub(crate) const FAILURE: Option<i32> = Some(1);
pub(crate) const USAGE: Option<i32> = Some(2);
pub(crate) const PEER_DIED: Option<i32> = Some(3);
pub(crate) const CORRUPT: Option<i32> = Some(4);
pub(crate) const TIMED_OUT: Option<i32> = Some(5);
pub(crate) const RECEIVER_LEFT: Option<i32> = Some(6);
pub(crate) const SENDER_BROKE_OFF: Option<i32> = Some(7);

/// Has what is started from here on take signals as a shell's commands do. The
/// tests may run where some are ignored, as behind a `&` of sh, which the command
/// would leave so.
#[allow(unsafe_code)] // signal(2)
pub(crate) fn take_signals() {
    for signal in [
        libc::SIGHUP,
        libc::SIGINT,
        libc::SIGQUIT,
        libc::SIGUSR1,
        libc::SIGALRM,
        libc::SIGTERM,
    ] {
        // SAFETY: the default action is no function that could do anything wrong.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// Signals by which a process ends, and which can be caught.
pub(crate) const ENDING: [Signal; 6] = [
    Signal::HUP,
    Signal::INT,
    Signal::QUIT,
    Signal::TERM,
    Signal::USR1,
    Signal::ALARM,
];

/// A running `shmpipe`, killed and reaped with the test.
pub(crate) struct Running {
    pub(crate) child: Child,
    pub(crate) stdout: Option<JoinHandle<Vec<u8>>>,
    stderr: Option<JoinHandle<Vec<u8>>>,
}

/// How a `shmpipe` ended.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Running {
    /// Runs a verb on a path. Its stdin is a pipe, its stdout is collected.
    pub(crate) fn verb(verb: &str, path: &Path, options: &[&str]) -> Running {
        let args = [OsStr::new(verb), path.as_os_str()];
        Running::new(args.into_iter().chain(options.iter().map(OsStr::new)))
    }

    pub(crate) fn new(args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Running {
        let mut running = Running::unread(args);
        running.stdout = running.child.stdout.take().map(collect);
        running
    }

    /// Leaves its stdout a pipe that nobody reads.
    pub(crate) fn unread(args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Running {
        Running::spawn(Command::new(env!("CARGO_BIN_EXE_shmpipe")).args(args))
    }

    /// Has nobody read its stdout, from before its start.
    pub(crate) fn with_broken_stdout(args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Running {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = Command::new(env!("CARGO_BIN_EXE_shmpipe"));
        Running::start(command.args(args), Stdio::piped(), writer.into())
    }

    /// Runs the command by a shell, to which it is `"$@"`. Its stdin is a
    /// pipe, its stdout is collected.
    pub(crate) fn by_shell(
        script: &str,
        args: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> Running {
        let mut shell = Command::new("sh");
        shell.args(["-c", script, "sh", env!("CARGO_BIN_EXE_shmpipe")]);
        let mut running = Running::spawn(shell.args(args));
        running.stdout = running.child.stdout.take().map(collect);
        running
    }

    /// Runs a verb on a path with this stdin. Its stdout is collected.
    pub(crate) fn fed_by(
        stdin: impl Into<Stdio>,
        verb: &str,
        path: &Path,
        options: &[&str],
    ) -> Running {
        let mut command = Command::new(env!("CARGO_BIN_EXE_shmpipe"));
        command.arg(verb).arg(path).args(options);
        let mut running = Running::start(&mut command, stdin.into(), Stdio::piped());
        running.stdout = running.child.stdout.take().map(collect);
        running
    }

    fn spawn(command: &mut Command) -> Running {
        Running::start(command, Stdio::piped(), Stdio::piped())
    }

    fn start(command: &mut Command, stdin: Stdio, stdout: Stdio) -> Running {
        take_signals();
        let mut child = command
            .stdin(stdin)
            .stdout(stdout)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = child.stderr.take().map(collect);
        Running {
            child,
            stdout: None,
            stderr,
        }
    }

    pub(crate) fn stdin(&mut self) -> ChildStdin {
        self.child.stdin.take().unwrap()
    }

    /// Writes to its stdin, leaving that open.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.child.stdin.as_mut().unwrap().write_all(bytes).unwrap();
    }

    /// Writes all of `bytes` to its stdin from a thread, then closes it.
    pub(crate) fn feed_all(&mut self, bytes: Vec<u8>) {
        let mut stdin = self.stdin();
        // Fails where the command ends early, which is then seen elsewhere.
        thread::spawn(move || stdin.write_all(&bytes));
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What its first thread does.
    pub(crate) fn task(&self) -> Task {
        Task::of(self.pid())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// The segment of the ring that it has a role in.
    #[track_caller]
    pub(crate) fn ring(&self) -> SegmentId {
        until("it has a ring", || self.snapshot()).id
    }

    /// The same, once both roles are taken. Until then another ring may take
    /// its place, if the second to come asks for another capacity.
    #[track_caller]
    pub(crate) fn paired(&self) -> SegmentId {
        let is_process = |occupant| matches!(occupant, Occupant::Process(_));
        let both = |ring: &Snapshot| is_process(ring.producer) && is_process(ring.consumer);
        until("both are there", || self.snapshot().filter(both)).id
    }

    fn snapshot(&self) -> Option<Snapshot> {
        let has = Occupant::Process(self.pid());
        let mut rings = Snapshot::all().unwrap().into_iter();
        rings.find(|ring| ring.producer == has || ring.consumer == has)
    }

    #[track_caller]
    pub(crate) fn end(mut self) -> Ended {
        let status = until("it ends", || self.child.try_wait().unwrap());
        let collected = |thread: &mut Option<JoinHandle<Vec<u8>>>| {
            thread
                .take()
                .map_or(Vec::new(), |thread| thread.join().unwrap())
        };
        Ended {
            status,
            stdout: collected(&mut self.stdout),
            stderr: String::from_utf8(collected(&mut self.stderr)).unwrap(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    /// Died of `signal`, after a line on stderr.
    #[track_caller]
    pub(crate) fn by(self, signal: Signal) -> Ended {
        let died_of = self.status.signal();
        let Ended { status, stderr, .. } = &self;
        assert_eq!(died_of, Some(signal.as_raw()), "{status} {stderr}");
        assert_eq!(stderr, "shmpipe: interrupted\n");
        self
    }

    /// Died of SIGPIPE without a word, as filters do.
    #[track_caller]
    pub(crate) fn of_sigpipe(self) -> Ended {
        let Ended { status, stderr, .. } = &self;
        assert_eq!(status.signal(), Some(libc::SIGPIPE), "{status} {stderr}");
        assert_eq!(stderr, "");
        self
    }

    /// Ended with `code`; and, unless it is done, with one line on stderr that
    /// holds `words`.
    #[track_caller]
    pub(crate) fn with(self, code: Option<i32>, words: &str) -> Ended {
        assert_eq!(self.status.code(), code, "{} {}", self.status, self.stderr);
        if code == DONE {
            assert_eq!(self.stderr, "");
        } else {
            assert_eq!(self.stderr.lines().count(), 1, "{}", self.stderr);
            assert!(self.stderr.starts_with("shmpipe: "), "{}", self.stderr);
            assert!(self.stderr.contains(words), "{}", self.stderr);
        }
        self
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }
}

pub(crate) fn collect(mut from: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).unwrap();
        bytes
    })
}

#[track_caller]
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "not in time: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// The segment goes; the kernel may take a moment after the last exit.
#[track_caller]
pub(crate) fn is_gone(id: SegmentId, path: &TempPath) {
    crate::common::until_gone(id);
    assert!(!path.leads_to_a_segment());
}

/// Whether the ring has no room.
pub(crate) fn is_full(id: SegmentId) -> bool {
    Snapshot::of(id).is_ok_and(|ring| ring.fill == ring.capacity)
}

/// Waits until a sender waits for room, and its receiver for somebody who reads its
/// stdout.
#[track_caller]
pub(crate) fn until_stuck(id: SegmentId, sender: &Running, receiver: &Running) {
    let all_wait = || {
        // A receiver that sleeps beside a full ring waits for its stdout.
        is_full(id) && sender.task().is_asleep() && receiver.task().is_asleep()
    };
    until("both wait", || all_wait().then_some(()));
}

/// Waits until so many bytes have gone through the ring.
#[track_caller]
pub(crate) fn until_read(id: SegmentId, bytes: u64) {
    until("the bytes are read", || {
        let ring = Snapshot::of(id).unwrap();
        (ring.written == bytes && ring.fill == 0).then_some(())
    });
}
