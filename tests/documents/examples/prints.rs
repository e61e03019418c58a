//! Examples that print a few known lines.

use std::ffi::OsStr;
use std::io::Write;
use std::path::Path;

use super::Example;
use crate::common::TempPath;

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
