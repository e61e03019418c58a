//! Each example as a process: what it prints, how it ends, what it leaves.

mod files;
mod prints;
mod texts;

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use shmpipe::sysv;

use crate::common::until;

/// Where `cargo test` puts an example.
fn binary(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let profile = own.parent().unwrap().parent().unwrap();
    let binary = profile.join("examples").join(name);
    assert!(
        binary.exists(),
        "{} is missing: cargo build --examples",
        binary.display()
    );
    binary
}

/// An example that runs; killed and reaped with the test.
struct Example {
    child: Child,
}

/// How an example ended.
#[derive(Debug)]
struct Ended {
    pid: u32,
    succeeded: bool,
    stdout: String,
    stderr: String,
}

impl Example {
    fn start(name: &str, args: &[&OsStr]) -> Example {
        let child = Command::new(binary(name))
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Example { child }
    }

    /// Gives it all of its stdin. It may end without reading it.
    fn feed(&mut self, input: &[u8]) {
        let mut stdin = self.child.stdin.take().unwrap();
        let _ = stdin.write_all(input);
    }

    /// The next line that it prints.
    #[track_caller]
    fn line(&mut self) -> String {
        let stdout = self.child.stdout.as_mut().unwrap();
        let (mut line, mut byte) = (Vec::new(), [0]);
        while line.last() != Some(&b'\n') && stdout.read(&mut byte).unwrap() == 1 {
            line.extend(byte);
        }
        String::from_utf8(line).unwrap()
    }

    /// Waits for the end. What it prints fits the pipes.
    #[track_caller]
    fn end(mut self) -> Ended {
        drop(self.child.stdin.take());
        let mut status = None;
        until(|| {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        let (mut stdout, mut stderr) = (String::new(), String::new());
        let pipes = (self.child.stdout.take(), self.child.stderr.take());
        pipes.0.unwrap().read_to_string(&mut stdout).unwrap();
        pipes.1.unwrap().read_to_string(&mut stderr).unwrap();
        Ended {
            pid: self.child.id(),
            succeeded: status.unwrap().success(),
            stdout,
            stderr,
        }
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        // Both fail on a child that is reaped.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    /// Its stdout, if it succeeded and complained of nothing.
    #[track_caller]
    fn printed(&self) -> &str {
        assert!(self.succeeded && self.stderr.is_empty(), "{self:?}");
        &self.stdout
    }

    /// Its stderr, if it failed.
    #[track_caller]
    fn complaint(&self) -> &str {
        assert!(!self.succeeded, "{self:?}");
        &self.stderr
    }

    /// Panics if a segment that it made is there.
    #[track_caller]
    fn leaves_no_segment(&self) {
        let made = |stat: &sysv::Stat| u32::try_from(stat.creator_pid) == Ok(self.pid);
        let left: Vec<_> = sysv::list().unwrap().into_iter().filter(made).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[track_caller]
fn write(path: &Path, input: &[u8]) -> Ended {
    let mut writer = Example::start("writer", &[path.as_os_str()]);
    writer.feed(input);
    writer.end()
}

fn read(path: &Path) -> Ended {
    Example::start("reader", &[path.as_os_str()]).end()
}
