//! What makes the command fast between programs, without a clock: wide pipes, few wake-ups,
//! sockets that take much at once.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::pipe::{fcntl_getpipe_size, fcntl_setpipe_size};

use crate::common::{TempPath, check, not_run, stream, unique};
use crate::running::{DONE, Running, until};

const WIDE_STDIN: usize = 256 << 10;
const WIDE_STDOUT: usize = 1 << 20;

/// The pipes of others than root share a limit, which tests beside this one may reach.
#[test]
fn pipes_at_both_ends_are_widened() {
    if !rustix::process::geteuid().is_root() {
        return not_run("needs root");
    }
    let path = TempPath::new();
    let sender = Running::verb("send", &path, &[]);
    let receiver = Running::unread(["recv".as_ref(), path.as_os_str()]);
    sender.paired();
    let stdin = sender.child.stdin.as_ref().unwrap();
    let stdout = receiver.child.stdout.as_ref().unwrap();
    assert_eq!(fcntl_getpipe_size(stdin).unwrap(), WIDE_STDIN);
    assert_eq!(fcntl_getpipe_size(stdout).unwrap(), WIDE_STDOUT);
}

/// The kernel lets a user's pipes have `pipe-user-pages-soft` pages. The pipes belong to the
/// user who made them, here root, and the limit holds for whoever is not root.
#[test]
fn a_pipe_that_may_not_grow_is_used_as_it_is() {
    const SOMEBODY: u32 = 54321;
    if !rustix::process::geteuid().is_root() {
        return not_run("needs root");
    }
    let soft = fs::read_to_string("/proc/sys/fs/pipe-user-pages-soft").unwrap();
    let pages: usize = soft.trim().parse().unwrap();
    if pages == 0 || pages > 1 << 16 {
        return not_run(&format!("the limit is {pages} pages"));
    }
    let mut hold = Vec::new();
    for _ in 0..pages.div_ceil(256) + 1 {
        let pipe = std::io::pipe().unwrap();
        fcntl_setpipe_size(&pipe.0, 1 << 20).unwrap();
        hold.push(pipe);
    }
    let path = TempPath::new();
    std::os::unix::fs::chown(&*path, Some(SOMEBODY), Some(SOMEBODY)).unwrap();
    // The binary may lie where only root may go.
    let binary = TempPath::new();
    fs::remove_file(&binary).unwrap();
    fs::copy(env!("CARGO_BIN_EXE_shmpipe"), &*binary).unwrap();
    let start = |verb: &str| {
        let mut command = Command::new(&*binary);
        command.arg(verb).arg(&*path).uid(SOMEBODY).gid(SOMEBODY);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command.spawn().unwrap()
    };
    let (mut sender, receiver) = (start("send"), start("recv"));
    let bytes = stream(unique(), 0, 1 << 20);
    let mut stdin = sender.stdin.take().unwrap();
    let before = fcntl_getpipe_size(&stdin).unwrap();
    stdin.write_all(&bytes).unwrap();
    assert_eq!(fcntl_getpipe_size(&stdin).unwrap(), before);
    drop(stdin);
    assert!(receiver.wait_with_output().unwrap().stdout == bytes);
    assert!(sender.wait().unwrap().success());
}

/// How often the process has gone to sleep by itself.
fn sleeps_of(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.unwrap().trim().parse().unwrap()
}

/// Ten times a second at most, once nothing has come for more than a second.
#[test]
fn an_idle_pair_hardly_wakes_up() {
    let path = TempPath::new();
    let receiver = Running::verb("recv", &path, &[]);
    let mut sender = Running::verb("send", &path, &[]);
    sender.feed(b"something");
    receiver.paired();
    thread::sleep(Duration::from_millis(1500));
    for pid in [receiver.pid(), sender.pid()] {
        let (start, before) = (Instant::now(), sleeps_of(pid));
        thread::sleep(Duration::from_secs(2));
        let slept = sleeps_of(pid) - before;
        let most = 10.0 * start.elapsed().as_secs_f64() + 2.0; // and one that begins or ends
        assert!(
            slept as f64 <= most,
            "{slept} sleeps in {:?}",
            start.elapsed()
        );
    }
}

/// The kernel wakes the writer of a full pipe at each page that the reader frees.
#[test]
fn the_writer_of_a_full_pipe_does_not_wake_for_each_page() {
    const PAGE: usize = 4096;
    let (seed, len) = (unique(), 32 << 20);
    let path = TempPath::new();
    let mut sender = Running::verb("send", &path, &[]);
    let mut receiver = Running::unread(["recv".as_ref(), path.as_os_str()]);
    sender.feed_all(stream(seed, 0, len));
    let mut stdout = receiver.child.stdout.take().unwrap();
    let mut got = vec![0; len];
    let (most, rest) = got.split_at_mut(len - 8 * WIDE_STDOUT); // more than pipe and ring hold
    for page in most.chunks_mut(PAGE) {
        stdout.read_exact(page).unwrap();
    }
    let slept = sleeps_of(receiver.pid());
    let pages = most.len() / PAGE;
    stdout.read_exact(rest).unwrap();
    assert!(slept < pages as u64 / 4, "{slept} sleeps for {pages} pages");
    sender.end().with(DONE, "");
    receiver.end().with(DONE, "");
    check(seed, 0, &got);
}

/// Such a FIFO looks as if its writer had gone.
#[test]
fn a_fifo_that_was_opened_before_its_writer_is_waited_for() {
    let path = TempPath::new();
    let fifo = TempPath::new();
    fs::remove_file(&fifo).unwrap();
    mknodat(CWD, &*fifo, FileType::Fifo, Mode::RWXU, 0).unwrap();
    let mut how = File::options();
    let reader = how.read(true).custom_flags(libc::O_NONBLOCK).open(&*fifo);
    let receiver = Running::verb("recv", &path, &[]);
    let sender = Running::fed_by(reader.unwrap(), "send", &path, &[]);
    sender.paired();
    sender.task().until_asleep();
    let mut writer = File::options().write(true).open(&*fifo).unwrap();
    writer.write_all(b"late").unwrap();
    drop(writer);
    sender.end().with(DONE, "");
    assert_eq!(receiver.end().with(DONE, "").stdout, b"late");
}

/// With a reader that takes little at a time, so that the socket is full again and again.
#[test]
fn a_socket_as_stdout_takes_the_stream() {
    let (seed, len) = (unique(), 5_000_001);
    let path = TempPath::new();
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let receiver = Command::new(env!("CARGO_BIN_EXE_shmpipe"))
        .args(["recv".as_ref(), path.as_os_str()])
        .stdout(OwnedFd::from(theirs))
        .spawn();
    let mut receiver = receiver.unwrap();
    let mut sender = Running::verb("send", &path, &["--capacity", "64KiB"]);
    sender.feed_all(stream(seed, 0, len));
    let mut got = Vec::new();
    let mut part = [0; 10_000];
    loop {
        match ours.read(&mut part).unwrap() {
            0 => break,
            read => got.extend_from_slice(&part[..read]),
        }
    }
    sender.end().with(DONE, "");
    let status = until("it ends", || receiver.try_wait().unwrap());
    assert!(status.success());
    assert_eq!(got.len(), len);
    check(seed, 0, &got);
}
