//! The failure matrix: relays in processes of their own, a real server on loopback, and
//! rings whose bytes and ends are compared one by one.
//!
//! `SHMPIPE_NATS_SERVER` names another server than `nats-server` of the path.
//! `SHMPIPE_NATS_KILLS` is the number of rounds of kills, and `SHMPIPE_NATS_BYTES` the bytes
//! that pass while kills come at any time.
#![allow(unsafe_code)] // children die with their test

mod clock;
mod cluster;
mod ends;
mod failures;
mod kills;
mod moments;
mod network;
mod proxy;
mod refusals;
mod relay;
mod rings;
mod server;
mod tools;

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long a test waits for what must come. A bound on hangs, not a measure.
const PATIENCE: Duration = Duration::from_secs(90);

/// Waits until `done`.
#[track_caller]
fn until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < PATIENCE, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Says that a test is left out, also to `.ci/not-run`.
fn not_run(test: &str, why: &str) {
    let line = format!("nats: {test}: {why}\n");
    print!("not run: {line}");
    if let Some(list) = std::env::var_os("SHMPIPE_NOT_RUN") {
        let file = OpenOptions::new().append(true).create(true).open(list);
        let _ = file.and_then(|mut file| file.write_all(line.as_bytes())); // it was said already
    }
}

/// A folder that goes with its test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("shmpipe-nats-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Folder(path)
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Starts a child that dies with the thread which starts it.
fn spawn(command: &mut Command) -> Child {
    use std::os::unix::process::CommandExt;
    // SAFETY: prctl is async-signal-safe, and touches no memory here.
    unsafe {
        command.pre_exec(|| {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            Ok(())
        });
    }
    command
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"))
}
