//! Forking, and waiting for the child.
#![allow(unsafe_code)] // fork(2)

use std::fs;
use std::io;

use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, waitpid};

/// The two returns of a fork.
#[derive(Debug)]
pub(crate) enum Forked {
    Child,
    Parent(Child),
}

/// A child process. A drop kills it, if it still runs, and reaps it.
#[derive(Debug)]
pub(crate) struct Child {
    /// `None` once it is reaped.
    pid: Option<Pid>,
}

/// Forks this process, which must have one thread.
pub(crate) fn fork() -> io::Result<Forked> {
    let tasks = loop {
        match fs::read_dir("/proc/self/task") {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            tasks => break tasks?,
        }
    };
    if tasks.count() != 1 {
        return Err(io::Error::other("a process with threads cannot fork"));
    }
    // SAFETY: this is the only thread, as was just counted, and only this thread could start
    // another one. So no lock in the child is held by a thread that does not exist there. The
    // child may do whatever this process may.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        pid => Ok(match Pid::from_raw(pid) {
            Some(_) => Forked::Parent(Child {
                pid: Pid::from_raw(pid),
            }),
            None => Forked::Child,
        }),
    }
}

impl Child {
    /// Waits for the end of the child.
    pub(crate) fn wait(mut self) -> io::Result<WaitStatus> {
        self.reap()
    }

    fn reap(&mut self) -> io::Result<WaitStatus> {
        let pid = self.pid.take();
        match rustix::io::retry_on_intr(|| waitpid(pid, WaitOptions::empty()))? {
            Some((_, status)) => Ok(status),
            None => Err(io::Error::other("waitpid: no child")), // only with NOHANG
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if let Some(pid) = self.pid {
            // Neither call fails for a child that is not reaped.
            let _ = kill_process(pid, Signal::KILL);
            let _ = self.reap();
        }
    }
}
