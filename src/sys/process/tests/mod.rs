//! Real processes in every state a peer can be in.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use super::*;
use children::{Peer, SKIPPED, command, eventually, exit, fork, is_gone, is_zombie, reap};

mod children;

/// Whether this process can read everything that a record holds; a sandbox may hide it.
fn everything_is_known() -> bool {
    let own = Process::current();
    let known = own.start != 0 && own.pid_namespace != 0 && own.time_namespace != 0;
    if !known {
        eprintln!("skipped: /proc does not tell all of {own:?}");
    }
    known
}

#[test]
fn a_process_knows_itself() {
    let own = Process::current();
    assert_eq!(own.pid, std::process::id());
    assert_eq!(own, Process::current());
    assert_eq!(own, Process::read());
    assert_eq!(Watch::new(own).check(), Liveness::Alive);
    let watcher = std::thread::spawn(move || Watch::new(own)); // a Watch is Send
    let mut watch = watcher.join().expect("no panic");
    assert_eq!(watch.check(), Liveness::Alive);
    assert!(
        matches!(watch.evidence, Evidence::None),
        "no descriptor is spent on ourselves"
    );
}

#[test]
fn a_forked_child_is_another_process() {
    if !everything_is_known() {
        return;
    }
    let own = Process::current();
    let pid = fork();
    if pid == 0 {
        let child = Process::current();
        let is_other = child.pid != own.pid
            && child.start >= own.start
            && child.pid_namespace == own.pid_namespace;
        let sees_parent = Watch::new(own).check() == Liveness::Alive;
        let sees_itself = Watch::new(child).check() == Liveness::Alive;
        exit(i32::from(
            !(is_other && sees_parent && sees_itself && child == Process::read()),
        ));
    }
    assert_eq!(reap(pid), 0);
    assert_eq!(Process::current(), own);
}

#[test]
fn a_lock_left_behind_by_a_fork_does_not_block() {
    let held = CACHE.lock();
    let pid = fork();
    if pid == 0 {
        exit(i32::from(Process::current() != Process::read()));
    }
    drop(held);
    assert_eq!(reap(pid), 0);
}

#[test]
fn a_peer_is_alive_then_a_zombie_then_reaped() {
    let mut peer = Peer::start("wait");
    assert_eq!(peer.process.pid, peer.child.id());
    let mut early = Watch::new(peer.process);
    assert_eq!(early.check(), Liveness::Alive);
    peer.signal(libc::SIGKILL);
    assert!(is_gone(&mut early));
    peer.wait_for(libc::WEXITED);
    let mut late = Watch::new(peer.process);
    assert_eq!(late.check(), Liveness::Gone, "an unreaped zombie is gone");
    assert!(!is_free(peer.process.pid), "and still has its pid");
    peer.child.wait().expect("it can be reaped");
    assert_eq!(
        Watch::new(peer.process).check(),
        Liveness::Gone,
        "no process has the pid, or another"
    );
    assert_eq!(
        (early.check(), late.check()),
        (Liveness::Gone, Liveness::Gone)
    );
    assert!(
        matches!(early.evidence, Evidence::Gone),
        "the descriptor is closed"
    );
}

#[test]
fn a_stopped_peer_is_alive() {
    let peer = Peer::start("wait");
    let mut watch = Watch::new(peer.process);
    assert_eq!(watch.check(), Liveness::Alive);
    peer.signal(libc::SIGSTOP);
    peer.wait_for(libc::WSTOPPED);
    assert_eq!(watch.check(), Liveness::Alive);
    assert_eq!(Watch::new(peer.process).check(), Liveness::Alive);
    peer.signal(libc::SIGKILL);
    assert!(is_gone(&mut watch));
}

#[test]
fn a_peer_whose_first_thread_ended_is_alive() {
    if !everything_is_known() {
        return;
    }
    let mut peer = Peer::start("first thread ends");
    assert_ne!(
        peer.process.pid,
        peer.child.id(),
        "it is a child of our child"
    );
    assert!(is_zombie(peer.process.pid));
    let own = Process::current();
    let told = Process {
        pid: own.pid,
        start: own.start,
        ..peer.process
    };
    assert_eq!(told, own, "its other thread reads the namespaces");
    assert_eq!(peer.process.start, start_of(peer.process.pid));
    let mut watch = Watch::new(peer.process);
    for _ in 0..100 {
        assert_eq!(watch.check(), Liveness::Alive);
    }
    drop(peer.child.stdin.take());
    assert!(is_gone(&mut watch));
}

#[test]
fn a_peer_that_execs_stays_the_same() {
    if !everything_is_known() {
        return;
    }
    let peer = Peer::start("exec");
    let pid = peer.process.pid;
    let mut early = Watch::new(peer.process);
    let comm = || fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let became_cat = eventually(|| {
        assert_eq!(early.check(), Liveness::Alive);
        comm() == "cat\n"
    });
    assert!(became_cat);
    assert_eq!(early.check(), Liveness::Alive);
    assert_eq!(Watch::new(peer.process).check(), Liveness::Alive);
    assert_eq!(start_of(pid), peer.process.start);
}

#[test]
fn a_reused_pid_is_not_the_peer() {
    if !everything_is_known() {
        return;
    }
    let peer = Peer::start("wait");
    let check = |process| Watch::new(process).check();
    let earlier = Process {
        start: peer.process.start - 1,
        ..peer.process
    };
    assert_eq!(check(earlier), Liveness::Gone);
    assert_eq!(
        check(Process {
            start: u64::MAX,
            ..peer.process
        }),
        Liveness::Gone
    );
    assert_eq!(
        check(Process {
            start: 1,
            ..Process::current()
        }),
        Liveness::Gone,
        "we have a dead peer's pid"
    );
    // Not comparable: the pidfd alone decides.
    assert_eq!(
        check(Process {
            start: 0,
            ..peer.process
        }),
        Liveness::Alive
    );
    assert_eq!(
        check(Process {
            time_namespace: 0,
            ..earlier
        }),
        Liveness::Alive
    );
    assert_eq!(
        check(Process {
            time_namespace: 1,
            ..earlier
        }),
        Liveness::Alive
    );
}

#[test]
fn a_record_that_proves_nothing_is_unknown() {
    let own = Process::current();
    let zero = Process {
        pid: 0,
        start: 0,
        pid_namespace: 0,
        time_namespace: 0,
    };
    let max = Process {
        pid: u32::MAX,
        start: u64::MAX,
        pid_namespace: u32::MAX,
        time_namespace: u32::MAX,
    };
    let mut records = vec![
        zero,
        max,
        Process {
            pid_namespace: 0,
            ..own
        },
        Process {
            pid_namespace: 1,
            ..own
        },
    ];
    records.extend([0, PID_LIMIT + 1, 1 << 31, u32::MAX].map(|pid| Process { pid, ..own }));
    for record in records {
        let mut watch = Watch::new(record);
        assert_eq!(
            (watch.check(), watch.check()),
            (Liveness::Unknown, Liveness::Unknown),
            "{record:?}"
        );
    }
}

#[test]
fn the_pid_of_a_thread_is_unknown() {
    // SAFETY: no arguments; the call cannot fail. This is not the first thread: the harness runs
    // each test in a thread of its own.
    let tid = unsafe { libc::gettid() } as u32;
    let own = Process::current();
    if tid == own.pid {
        return; // with one test thread, there is no other thread to try
    }
    assert_eq!(
        Watch::new(Process { pid: tid, ..own }).check(),
        Liveness::Unknown
    );
    assert!(!is_free(tid));
}

#[test]
fn a_reaped_leader_of_a_living_group_is_gone() {
    let mut leader = Command::new("true")
        .process_group(0)
        .spawn()
        .expect("true runs");
    let pid = leader.id();
    let mut member = Command::new("cat");
    let mut member = member
        .process_group(pid as i32)
        .stdin(Stdio::piped())
        .spawn()
        .expect("cat runs");
    leader.wait().expect("it can be reaped");
    let gone = Watch::new(Process {
        pid,
        ..Process::current()
    })
    .check();
    let is_free = is_free(pid);
    drop(member.stdin.take());
    member.wait().expect("it can be reaped");
    assert_eq!((gone, is_free), (Liveness::Gone, true));
}

#[test]
fn checks_leak_no_descriptors() {
    if everything_is_known() {
        let output = command("descriptors").output().expect("it runs");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

#[test]
fn the_outer_pid_namespace_is_unknown() {
    let status = command("namespace").status().expect("it runs");
    if status.code() == Some(SKIPPED) {
        eprintln!("skipped: no new pid namespace is permitted here");
        return;
    }
    assert_eq!(status.code(), Some(0));
}

#[test]
fn the_start_time_is_field_22() {
    let rest = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4242 20 21\n";
    for name in ["cat", "a b", "a) S 9 (b", ") (", "((", "))))", "", "\u{fc}"] {
        assert_eq!(
            parse_start(format!("77 ({name}) {rest}").as_bytes()),
            Some(4242),
            "{name:?}"
        );
    }
    assert_eq!(
        parse_start(&[b"77 (\xff\xfe) ", rest.as_bytes()].concat()),
        Some(4242)
    );
    for bad in [
        "",
        ")",
        "77 (cat)",
        "77 (cat) S 1 2",
        "77 cat S 1 2 3",
        &format!("(cat) {}", "x ".repeat(30)),
    ] {
        assert_eq!(parse_start(bad.as_bytes()), None, "{bad:?}");
    }
}

#[test]
fn a_namespace_is_a_number_in_brackets() {
    assert_eq!(
        parse_namespace("pid:[4026531836]", "pid"),
        Some(4_026_531_836)
    );
    for bad in [
        "",
        "pid:[]",
        "time:[1]",
        "pid:[-1]",
        "pid:[4294967296]",
        "pid:[1",
        "/dev/null",
    ] {
        assert_eq!(parse_namespace(bad, "pid"), None, "{bad:?}");
    }
}
