//! Processes that go with the test: this test binary again, and forks.
#![allow(dead_code)] // each test binary uses a part
#![allow(unsafe_code)] // fork, kill and wait

use std::io;
use std::process::{Child, Command, ExitStatus, Stdio};

use super::asked_for;
use super::not_run::MARK;

/// Whether the calling test runs [`alone`].
pub(crate) fn is_alone() -> bool {
    std::env::var_os(MARK).is_some()
}

/// Runs `body` in a process of its own: this test binary again, told to run
/// the test `name` only, on its first and only thread. A test that forks runs
/// like this: a fork elsewhere in the process would copy its attachments, and
/// its own would copy other threads' locks.
pub(crate) fn alone(name: &str, body: impl FnOnce()) {
    if std::env::var_os(MARK).is_some_and(|value| value == name) {
        // SAFETY: a number. A test that hangs ends by SIGALRM.
        unsafe { libc::alarm(hang_limit()) };
        return body();
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(MARK, name)
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    print!("{stdout}");
    assert!(output.status.success(), "{}\n{stdout}", output.status);
    assert!(stdout.contains("1 passed"), "no test is named {name}");
}

/// Seconds that a test in a process of its own may take: far more than it
/// does, and in proportion to what was asked for.
fn hang_limit() -> u32 {
    let asked = |name| asked_for(name).unwrap_or(0) as u32;
    600 + asked("SHMPIPE_KILLS") / 20
        + asked("SHMPIPE_PARKS") / 5_000
        + asked("SHMPIPE_FORKS") / 50
        + asked("SHMPIPE_HOSTILE") * 4
        + asked("SHMPIPE_FAULTS") / 10
        + asked("SHMPIPE_PEERS") * 3_000
}

const PART: &str = "SHMPIPE_TEST_PART";

/// What [`Exec`] told this process to do, if it is one.
pub(crate) fn part() -> Option<String> {
    std::env::var(PART).ok()
}

/// A child started by exec, killed and reaped with the test if it has not
/// ended: this test binary again, told to run the test `name` only.
#[derive(Debug)]
pub(crate) struct Exec(Child);

impl Exec {
    /// The child finds `part` in [`part`].
    pub(crate) fn new(name: &str, part: &str) -> Exec {
        Exec(Exec::command(name, part).spawn().unwrap())
    }

    /// What starts such a child.
    pub(crate) fn command(name: &str, part: &str) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", name, "--nocapture", "--test-threads=1"])
            .env(PART, part)
            .stdout(Stdio::null());
        command
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn kill(&mut self) {
        self.0.kill().unwrap();
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.0.wait().unwrap()
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }
}

impl From<Child> for Exec {
    fn from(child: Child) -> Exec {
        Exec(child)
    }
}

impl Drop for Exec {
    fn drop(&mut self) {
        // Most have ended and are reaped.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How a forked child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Exit(i32),
    Signal(i32),
}

/// A forked child, killed and reaped with the test if it has not ended.
#[derive(Debug)]
pub(crate) struct Fork {
    pid: libc::pid_t,
    end: Option<End>,
}

impl Fork {
    /// The child runs `child` and exits: 0 when it returns, 101 when it
    /// panics. The parent must have one thread: see [`alone`].
    pub(crate) fn new(child: impl FnOnce()) -> Fork {
        // SAFETY: the process has one thread, so the child may do anything.
        let pid = unsafe { libc::fork() };
        assert!(pid >= 0, "fork: {}", io::Error::last_os_error());
        if pid == 0 {
            // SAFETY: integers only. Goes with the test, even one that is
            // killed.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child));
            exit_now(if done.is_ok() { 0 } else { 101 });
        }
        Fork { pid, end: None }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid as u32
    }

    pub(crate) fn signal(&self, signal: i32) {
        assert_eq!(self.end, None, "it has ended");
        // SAFETY: the pid is a child that is not yet reaped.
        assert_eq!(unsafe { libc::kill(self.pid, signal) }, 0);
    }

    pub(crate) fn kill(&self) {
        self.signal(libc::SIGKILL);
    }

    /// Waits for the end of the child.
    pub(crate) fn wait(&mut self) -> End {
        self.reap(0).expect("it has ended")
    }

    /// Waits until the child has ended, and leaves it to be reaped.
    pub(crate) fn wait_unreaped(&self) {
        loop {
            // SAFETY: all zero is a valid `siginfo_t`, a structure of integers.
            let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
            let (id, options) = (self.pid as libc::id_t, libc::WEXITED | libc::WNOWAIT);
            // SAFETY: `info` is valid for writes.
            if unsafe { libc::waitid(libc::P_PID, id, &raw mut info, options) } == 0 {
                return;
            }
            let error = io::Error::last_os_error();
            assert_eq!(error.kind(), io::ErrorKind::Interrupted, "{error}");
        }
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.reap(libc::WNOHANG).is_none()
    }

    fn reap(&mut self, options: i32) -> Option<End> {
        if self.end.is_some() {
            return self.end;
        }
        let mut status = 0;
        loop {
            // SAFETY: the pid is a child that is not yet reaped; `status` is
            // an int.
            let pid = unsafe { libc::waitpid(self.pid, &raw mut status, options) };
            if pid == -1 && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted {
                continue;
            }
            assert!(pid >= 0, "waitpid: {}", io::Error::last_os_error());
            if pid == self.pid {
                self.end = Some(if libc::WIFEXITED(status) {
                    End::Exit(libc::WEXITSTATUS(status))
                } else {
                    End::Signal(libc::WTERMSIG(status))
                });
            }
            return self.end;
        }
    }
}

impl Drop for Fork {
    fn drop(&mut self) {
        if self.reap(libc::WNOHANG).is_none() {
            self.kill();
            self.reap(0);
        }
    }
}

/// Ends this process without running anything more of it.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: an integer.
    unsafe { libc::_exit(code) }
}

/// Ends this process by SIGKILL.
pub(crate) fn kill_self() -> ! {
    // SAFETY: an integer.
    unsafe { libc::raise(libc::SIGKILL) };
    unreachable!("nobody survives SIGKILL")
}

/// Moves this process, or its children to come, to namespaces of their own.
/// Says whether that could be had. The process has one thread.
pub(crate) fn unshare(flags: i32) -> bool {
    // SAFETY: flags only.
    unsafe { libc::unshare(flags) == 0 }
}

/// Moves this process to an IPC namespace of its own, where its segments and
/// the limits on them are no one else's. Says whether that could be had.
pub(crate) fn move_to_own_ipc_namespace() -> bool {
    [libc::CLONE_NEWIPC, libc::CLONE_NEWUSER | libc::CLONE_NEWIPC]
        .into_iter()
        .any(unshare)
}
