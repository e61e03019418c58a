//! Each example as a process: what it prints, how it ends, what it leaves.

use std::ffi::OsStr;
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::common::{TempPath, is_waited_for, stream, unique, until};
use shmpipe::sysv;

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

#[test]
fn reader_prints_what_writer_left() {
    let path = TempPath::new();
    std::fs::remove_file(&path).unwrap(); // the writer makes it

    let writer = write(&path, b"a string in shared memory\nnot this line\n");
    assert!(
        writer.printed().contains("26 bytes are in segment"),
        "{writer:?}"
    );
    assert!(path.leads_to_a_segment());

    let reader = read(&path);
    assert_eq!(reader.printed(), "a string in shared memory\n");
    assert!(!path.leads_to_a_segment());
    writer.leaves_no_segment();
}

#[test]
fn reader_prints_strings_in_the_order_written() {
    let path = TempPath::new();
    write(&path, b"first\n").printed();
    write(&path, "zweite Zeichenkette äöü\n".as_bytes()).printed();
    let reader = read(&path);
    assert_eq!(reader.printed(), "first\nzweite Zeichenkette äöü\n");
    assert!(!path.leads_to_a_segment());
}

#[test]
fn an_empty_string_is_a_string() {
    let path = TempPath::new();
    write(&path, b"").printed();
    assert_eq!(read(&path).printed(), "");
    assert!(!path.leads_to_a_segment());
}

#[test]
fn a_string_that_does_not_fit_is_refused_and_never_printed() {
    let path = TempPath::new();
    let writer = write(&path, &vec![b'x'; shmpipe::DEFAULT_CAPACITY + 1]);
    assert!(writer.complaint().contains("fit the ring"), "{writer:?}");
    let reader = read(&path);
    assert!(reader.complaint().contains("ProducerAborted"), "{reader:?}");
    assert_eq!(reader.stdout, "");
    assert!(!path.leads_to_a_segment());
}

#[test]
fn reader_gives_up_without_a_writer() {
    let path = TempPath::new();
    let reader = read(&path);
    assert!(reader.complaint().contains("TimedOut"), "{reader:?}");
    assert!(!path.leads_to_a_segment());
    reader.leaves_no_segment();
}

/// Both ends are killed again and again, and the file arrives whole, once.
#[test]
fn a_log_arrives_whole_though_both_ends_are_killed() {
    let (path, source, spool) = (TempPath::new(), TempPath::new(), TempPath::new());
    std::fs::remove_file(&spool).unwrap(); // the relay makes a folder
    let bytes = stream(unique(), 0, 3 << 20);
    std::fs::write(&source, &bytes).unwrap();
    let write = || Example::start("log_writer", &[path.as_os_str(), source.as_os_str()]);
    let relay = |seconds: &str| {
        Example::start(
            "relay",
            &[path.as_os_str(), spool.as_os_str(), seconds.as_ref()],
        )
    };

    let part = spool.join("0.part");
    for round in 1..=4 {
        let (writer, relay) = (write(), relay("60")); // it is killed
        until(|| std::fs::metadata(&part).is_ok_and(|part| part.len() >= round * (300 << 10)));
        // The one first, then the other.
        if round % 2 == 0 {
            drop(relay);
            drop(writer);
        } else {
            drop(writer);
            drop(relay);
        }
    }
    let (mut writer, mut relay) = (write(), relay("60"));
    assert!(writer.child.wait().unwrap().success());
    assert_eq!(relay.line(), "0.whole\n");
    drop(relay);
    assert!(std::fs::read(spool.join("0.whole")).unwrap() == bytes);
    assert_eq!(std::fs::read_dir(&spool).unwrap().count(), 1);
    std::fs::remove_dir_all(&spool).unwrap();
    shmpipe::Options::new().remove(&path).unwrap();
}

#[test]
fn a_relay_tells_streams_and_their_ends_apart() {
    let (path, spool) = (TempPath::new(), TempPath::new());
    std::fs::remove_file(&spool).unwrap();
    let mut options = shmpipe::Options::new();
    options.persistent(true).capacity(1 << 16); // as the relay
    for (text, is_whole) in [("one", true), ("", true), ("tw", false), ("three", true)] {
        let mut producer = options.open_producer(&path).unwrap();
        producer.write_all(text.as_bytes()).unwrap();
        match is_whole {
            true => producer.close().unwrap(),
            false => producer.abort(),
        }
    }
    let relay = Example::start("relay", &[path.as_os_str(), spool.as_os_str()]);
    let names = "0.whole\n3.whole\n3.broken\n5.whole\n";
    assert_eq!(relay.end().printed(), names);
    for (name, text) in [("0.whole", "one"), ("3.broken", "tw"), ("5.whole", "three")] {
        assert_eq!(std::fs::read_to_string(spool.join(name)).unwrap(), text);
    }
    std::fs::remove_dir_all(&spool).unwrap();
    shmpipe::Options::new().remove(&path).unwrap();
}

/// Sends `len` bytes from file to file, the sender first or last.
fn a_file_arrives(len: usize, sender_first: bool) {
    let (path, file, copy) = (TempPath::new(), TempPath::new(), TempPath::new());
    std::fs::remove_file(&path).unwrap(); // whoever comes first makes it
    let bytes = stream(unique(), 0, len);
    std::fs::write(&file, &bytes).unwrap();

    let send = || Example::start("send_file", &[path.as_ref(), file.as_ref()]);
    let receive = || Example::start("receive_file", &[path.as_ref(), copy.as_ref()]);
    let (sender, receiver) = if sender_first {
        let sender = send();
        until(|| is_waited_for(&path));
        (sender, receive())
    } else {
        let receiver = receive();
        until(|| is_waited_for(&path));
        (send(), receiver)
    };
    let (sender, receiver) = (sender.end(), receiver.end());

    assert_eq!(sender.printed(), format!("{len} bytes sent\n"));
    assert_eq!(receiver.printed(), format!("{len} bytes received\n"));
    assert!(std::fs::read(&copy).unwrap() == bytes);
    assert!(!path.leads_to_a_segment());
    sender.leaves_no_segment();
    receiver.leaves_no_segment();
}

#[test]
fn a_file_arrives_when_the_sender_comes_first() {
    a_file_arrives(10_000_019, true);
}

#[test]
fn a_file_arrives_when_the_receiver_comes_first() {
    a_file_arrives(10_000_019, false);
}

#[test]
fn an_empty_file_arrives() {
    a_file_arrives(0, true);
}

#[test]
fn a_file_that_cannot_be_read_is_not_taken_for_empty() {
    let (path, copy) = (TempPath::new(), TempPath::new());
    let sender = Example::start("send_file", &[path.as_ref(), "/does/not/exist".as_ref()]);
    let receiver = Example::start("receive_file", &[path.as_ref(), copy.as_ref()]);
    let (sender, receiver) = (sender.end(), receiver.end());
    assert!(sender.complaint().contains("NotFound"), "{sender:?}");
    let complaint = receiver.complaint();
    assert!(complaint.contains("broke the stream off"), "{complaint}");
    assert!(!path.leads_to_a_segment());
}

#[test]
fn a_killed_sender_is_not_taken_for_done() {
    const SENT: usize = 100_000;
    let (path, copy) = (TempPath::new(), TempPath::new());
    let bytes = stream(unique(), 0, SENT);

    let receiver = Example::start("receive_file", &[path.as_ref(), copy.as_ref()]);
    let mut sender = Example::start("send_file", &[path.as_ref(), "/dev/stdin".as_ref()]);
    let mut stdin = sender.child.stdin.take().unwrap();
    stdin.write_all(&bytes).unwrap();
    until(|| std::fs::metadata(&copy).unwrap().len() >= SENT as u64);
    drop(sender); // by SIGKILL

    let receiver = receiver.end();
    let complaint = receiver.complaint();
    assert!(complaint.contains("the producer died"), "{complaint}");
    assert!(std::fs::read(&copy).unwrap() == bytes);
    assert!(!path.leads_to_a_segment());
    drop(stdin);
}

/// Several producers of one path, one after the other: one finishes, one breaks off, one is killed.
#[test]
fn a_collector_prints_the_lines_of_all_rings() {
    let paths = [TempPath::new(), TempPath::new(), TempPath::new()];
    let mut args: Vec<&OsStr> = vec!["60".as_ref()];
    args.extend(paths.iter().map(|path| path.as_os_str()));
    let mut collector = Example::start("collector", &args);
    let open = |path: &Path| {
        let mut options = shmpipe::Options::new();
        options.timeout(Some(crate::common::PATIENCE));
        options.open_producer(path).unwrap()
    };
    let mut first = open(&paths[0]);
    let mut second = open(&paths[1]);
    first.write_all(b"one\ntw").unwrap();
    let name = |number: usize| paths[number].display().to_string();
    assert_eq!(collector.line(), format!("{}: one\n", name(0)));
    second.write_all(b"three\n").unwrap();
    assert_eq!(collector.line(), format!("{}: three\n", name(1)));
    second.abort();
    let line = collector.line();
    assert!(
        line.starts_with(&name(1)) && line.contains("broke the stream off"),
        "{line}"
    );
    first.write_all(b"o\n").unwrap();
    first.close().unwrap();
    assert_eq!(collector.line(), format!("{}: two\n", name(0)));
    assert_eq!(collector.line(), format!("{}: the end\n", name(0)));

    let mut sender = Example::start("send_file", &[paths[0].as_ref(), "/dev/stdin".as_ref()]);
    let mut stdin = sender.child.stdin.take().unwrap();
    stdin.write_all(b"four\n").unwrap();
    assert_eq!(collector.line(), format!("{}: four\n", name(0)));
    drop(sender); // by SIGKILL
    let line = collector.line();
    assert!(
        line.starts_with(&name(0)) && line.contains("died"),
        "{line}"
    );
    drop((stdin, collector));

    let ended = Example::start("collector", &["0.01".as_ref(), paths[2].as_os_str()]).end();
    assert_eq!(ended.printed(), "");
    ended.leaves_no_segment();
    let usage = Example::start("collector", &[]).end();
    assert!(usage.complaint().contains("usage: collector"), "{usage:?}");
}

#[test]
fn an_epoll_loop_prints_the_lines_of_ring_and_pipe() {
    let parent = Example::start("epoll_loop", &[]).end();
    let lines: Vec<&str> = parent.printed().lines().collect();
    for from in ["the ring", "the pipe"] {
        let start = format!("{from}: line ");
        let numbers = lines.iter().filter_map(|line| line.strip_prefix(&start));
        assert!(numbers.eq(["1", "2", "3"]), "{lines:?}");
    }
    assert_eq!(lines.last(), Some(&"the child: exit status: 0"));
    assert_eq!(lines.len(), 7, "{lines:?}");
    parent.leaves_no_segment();
}

#[test]
fn fork_pair_prints_three_lines() {
    let parent = Example::start("fork_pair", &[]).end();
    let lines: Vec<&str> = parent.printed().lines().collect();
    assert_eq!(lines.len(), 3, "{parent:?}");
    let own = format!("process {}", parent.pid);
    for (number, line) in (1..).zip(lines) {
        let start = format!("{own} got: line {number} of process ");
        let child = line.strip_prefix(&start).expect(line);
        assert_ne!(child.parse(), Ok(parent.pid));
    }
    parent.leaves_no_segment();
}

#[test]
fn records_arrive_one_by_one() {
    let parent = Example::start("records", &[]).end();
    let printed = parent.printed();
    let xs = "x".repeat(30);
    let own = format!("written by process {}", parent.pid);
    let lines = [
        "8 bytes: a record",
        "0 bytes: ",
        "24 bytes: another, which is longer",
        &format!("{} bytes: {own}", own.len()),
        &format!("1048576 bytes: {xs}"),
    ];
    assert_eq!(printed, lines.join("\n") + "\n");
    parent.leaves_no_segment();
}

#[test]
fn spawn_child_prints_what_its_child_says() {
    let parent = Example::start("spawn_child", &[]).end();
    let printed = parent.printed();
    assert!(printed.starts_with("hello from process "), "{printed}");
    assert!(
        printed.ends_with("the child: exit status: 0\n"),
        "{printed}"
    );
    parent.leaves_no_segment();
}

#[test]
fn duplex_child_prints_what_its_child_answers() {
    let parent = Example::start("duplex_child", &[]).end();
    let lines = [
        "2 squared is 4",
        "3 squared is 9",
        "12 squared is 144",
        "the child: exit status: 0",
    ];
    assert_eq!(parent.printed(), lines.join("\n") + "\n");
    parent.leaves_no_segment();
}

#[cfg(feature = "async")]
#[test]
fn async_tokio_prints_three_lines_and_goes_on_meanwhile() {
    let parent = Example::start("async_tokio", &[]).end();
    let lines: Vec<&str> = parent.printed().lines().collect();
    assert_eq!(lines.len(), 4, "{parent:?}");
    for (number, line) in (1..).zip(&lines[..3]) {
        let start = format!("line {number} of process ");
        let child = line.strip_prefix(&start).expect(line);
        assert_ne!(child.parse(), Ok(parent.pid));
    }
    assert_eq!(lines[3], "the task ticked meanwhile: true");
    parent.leaves_no_segment();
}

#[cfg(feature = "tokio")]
#[test]
fn tokio_codec_prints_three_frames_and_goes_on_meanwhile() {
    let parent = Example::start("tokio_codec", &[]).end();
    let lines: Vec<&str> = parent.printed().lines().collect();
    assert_eq!(lines.len(), 4, "{parent:?}");
    for (number, line) in (1..).zip(&lines[..3]) {
        let start = format!("frame {number} of process ");
        let child = line.strip_prefix(&start).expect(line);
        assert_ne!(child.parse(), Ok(parent.pid));
    }
    assert_eq!(lines[3], "the task ticked meanwhile: true");
    parent.leaves_no_segment();
}

#[cfg(feature = "zerocopy")]
#[test]
fn typed_messages_sums_up_what_was_measured() {
    let process = Example::start("typed_messages", &[]).end();
    let sums = "1000 samples; the sums of the sensors: [125.0, 375.0, 625.0, 875.0]\n";
    assert_eq!(process.printed(), sums);
    process.leaves_no_segment();
}

#[test]
fn own_memory_prints_what_its_child_says() {
    let parent = Example::start("own_memory", &[]).end();
    let (ring, text) = parent.printed().split_once('\n').unwrap();
    assert_eq!(ring, "a ring of 65536 bytes");
    let child = text.strip_prefix("hello from process ").expect(text);
    assert!(child.trim_end().parse::<u32>().unwrap() != parent.pid);
    parent.leaves_no_segment();
}

/// As another user, if this process may become one. Otherwise as this user, twice.
#[test]
fn a_text_goes_from_one_user_to_another() {
    const OTHER: u32 = 54321;
    let (path, copy) = (TempPath::new(), TempPath::new());
    std::fs::remove_file(&path).unwrap(); // whoever comes first makes it
    // The other user may not reach the folder of the build.
    std::fs::copy(binary("two_users"), &copy).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&copy, mode).unwrap();
    // SAFETY: no arguments.
    #[allow(unsafe_code)]
    let own = unsafe { libc::geteuid() };
    let start = |verb, becomes: Option<u32>, peer: u32| {
        let mut command = Command::new(&*copy);
        command
            .args([
                OsStr::new(verb),
                path.as_ref(),
                OsStr::new(&peer.to_string()),
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if own == 0 {
            std::os::unix::process::CommandExt::gid(&mut command, OTHER);
        }
        if let Some(user) = becomes {
            std::os::unix::process::CommandExt::uid(&mut command, user);
        }
        let mut child = None;
        until(|| match command.spawn() {
            // A child that another test is starting has the copy open for writing.
            Err(error) if error.kind() == ErrorKind::ExecutableFileBusy => false,
            spawned => child.insert(spawned.unwrap()).id() > 0,
        });
        Example {
            child: child.unwrap(),
        }
    };
    let other = (own == 0).then_some(OTHER);
    let receiver = start("receive", None, other.unwrap_or(own));
    until(|| is_waited_for(&path));
    let mut sender = start("send", other, own);
    sender.feed(b"from another user\n");
    let (sender, receiver) = (sender.end(), receiver.end());
    assert_eq!(sender.printed(), "18 bytes sent\n");
    assert_eq!(receiver.printed(), "from another user\n");
    assert!(!path.leads_to_a_segment());
    receiver.leaves_no_segment();
}

#[test]
fn two_threads_stream_64_mib() {
    let process = Example::start("two_threads", &[]).end();
    let printed = process.printed();
    assert!(
        printed.starts_with("67108864 bytes, all as they were written\n"),
        "{printed}"
    );
    process.leaves_no_segment();
}

#[test]
fn arguments_are_asked_for() {
    for name in ["writer", "reader", "send_file", "receive_file", "two_users"] {
        let ended = Example::start(name, &[]).end();
        assert!(
            ended.complaint().contains(&format!("usage: {name}")),
            "{ended:?}"
        );
    }
}
