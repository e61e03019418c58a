//! The children: this program, run again with [`ROLE`] set.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::*;

/// Selects what [`role`] does in a child.
const ROLE: &str = "SHMPIPE_PEER_TEST_ROLE";
/// The record of the process that started the child.
const STARTER: &str = "SHMPIPE_PEER_TEST_STARTER";
/// The exit code of a role that cannot run here.
pub(super) const SKIPPED: i32 = 77;
/// A bound on hangs, not on speed.
const HANG: Duration = Duration::from_secs(5);

/// A child that has reported its record. Killed and reaped on drop; exits by itself when its input
/// ends.
pub(super) struct Peer {
    pub(super) child: Child,
    pub(super) process: Process,
}

impl Peer {
    pub(super) fn start(role: &str) -> Peer {
        let mut child = command(role)
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it runs");
        let mut line = String::new();
        let told = BufReader::new(child.stderr.take().expect("piped")).read_line(&mut line);
        told.expect("the child tells its record");
        let process = from_text(&line);
        Peer { child, process }
    }

    pub(super) fn signal(&self, signal: i32) {
        // SAFETY: takes two integers; the pid is that of our unreaped child.
        let result = unsafe { libc::kill(self.child.id() as libc::pid_t, signal) };
        assert_eq!(result, 0);
    }

    /// Waits for a change of state, and leaves an ended child unreaped.
    pub(super) fn wait_for(&self, state: i32) {
        let mut info = std::mem::MaybeUninit::<libc::siginfo_t>::zeroed();
        let options = state | libc::WNOWAIT;
        // SAFETY: `info` is live and writable; the pid is that of our unreaped child.
        let result =
            unsafe { libc::waitid(libc::P_PID, self.child.id(), info.as_mut_ptr(), options) };
        assert_eq!(result, 0);
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// This program, told to run the test [`role`] and no other.
pub(super) fn command(role: &str) -> Command {
    let path = module_path!().split_once("::").map_or("", |(_, path)| path);
    let mut command = Command::new(std::env::current_exe().expect("the path of this program"));
    command.args(["--exact", &format!("{path}::role"), "--nocapture"]);
    command
        .env(ROLE, role)
        .env(STARTER, to_text(Process::current()))
        .stdout(Stdio::null());
    command
}

fn to_text(p: Process) -> String {
    format!(
        "{} {} {} {}\n",
        p.pid, p.start, p.pid_namespace, p.time_namespace
    )
}

fn from_text(text: &str) -> Process {
    let fields: Vec<u64> = text
        .split_whitespace()
        .map_while(|field| field.parse().ok()) // a tool may have printed to the same pipe
        .collect();
    let [pid, start, pid_namespace, time_namespace] = fields[..] else {
        panic!("not a record: {text:?}");
    };
    let [pid, pid_namespace, time_namespace] =
        [pid, pid_namespace, time_namespace].map(|field| field as u32);
    Process {
        pid,
        start,
        pid_namespace,
        time_namespace,
    }
}

pub(super) fn eventually(question: impl FnMut() -> bool) -> bool {
    let mut question = question;
    let begin = Instant::now();
    while begin.elapsed() < HANG {
        if question() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    question()
}

/// Whether the first thread of a process has ended.
pub(super) fn is_zombie(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.contains(") Z ")
}

pub(super) fn is_gone(watch: &mut Watch) -> bool {
    eventually(|| watch.check() == Liveness::Gone)
}

pub(super) fn exit(code: i32) -> ! {
    // SAFETY: ends the process at once; nothing of it is used again.
    unsafe { libc::_exit(code) }
}

pub(super) fn fork() -> libc::pid_t {
    // SAFETY: the C library keeps its allocator usable in the child. Children of tests take no
    // other lock. Children of roles also take locks of the standard library. The only other thread
    // of a role's process is the test harness, which holds no lock while it waits for the role.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        // SAFETY: takes an integer. A child that hangs is ended, and reads as a failure.
        unsafe { libc::alarm(15) };
    }
    pid
}

/// Waits for a child and returns its exit code.
pub(super) fn reap(pid: libc::pid_t) -> i32 {
    let mut status = -1;
    // SAFETY: `status` is a live, writable int.
    assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
    if libc::WIFEXITED(status) {
        libc::WEXITSTATUS(status)
    } else {
        -1
    }
}

/// Reports this process's record by standard error, the pipe that the starter reads.
fn tell_record() {
    std::io::stderr()
        .write_all(to_text(Process::current()).as_bytes())
        .expect("the starter listens");
}

fn until_input_ends() {
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

#[test]
fn role() {
    let Ok(role) = std::env::var(ROLE) else {
        return;
    };
    // SAFETY: takes an integer. A child that nobody ends is ended here.
    unsafe { libc::alarm(60) };
    match role.as_str() {
        "wait" => {
            tell_record();
            until_input_ends();
        }
        "exec" => {
            tell_record();
            panic!("{}", Command::new("cat").exec());
        }
        "first thread ends" => role_first_thread_ends(),
        "descriptors" => role_descriptors(),
        "namespace" => exit(role_namespace()),
        _ => panic!("no role {role}"),
    }
}

/// A child whose first thread ends while a second one lives.
fn role_first_thread_ends() {
    let pid = fork();
    if pid == 0 {
        std::thread::spawn(|| {
            eventually(|| is_zombie(std::process::id()));
            tell_record();
            until_input_ends();
            exit(0);
        });
        // SAFETY: ends this thread alone, and nothing on its stack is used by the other.
        unsafe { libc::syscall(libc::SYS_exit, 0) };
    }
    assert_eq!(reap(pid), 0);
}

/// Runs alone in its process, so that no other test opens descriptors.
fn role_descriptors() {
    let starter = from_text(&std::env::var(STARTER).expect("set"));
    let count = || fs::read_dir("/proc/self/fd").expect("readable").count();
    assert_eq!(Watch::new(starter).check(), Liveness::Alive);
    let before = count();
    let mut watch = Watch::new(starter);
    for _ in 0..1_000 {
        assert_eq!(watch.check(), Liveness::Alive);
        assert_eq!(Watch::new(starter).check(), Liveness::Alive);
        assert_eq!(
            Watch::new(Process {
                start: 1,
                ..starter
            })
            .check(),
            Liveness::Gone
        );
    }
    assert_eq!(count(), before + 1);
    drop(watch);
    assert_eq!(count(), before);

    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is a live, writable rlimit.
    let result = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
    assert_eq!(result, 0);
    let none = libc::rlimit {
        rlim_cur: 0,
        ..limit
    };
    let mut watch = Watch::new(starter);
    // SAFETY: `none` is a live rlimit. From here no descriptor can be opened (EMFILE).
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &none) }, 0);
    let refused = watch.check();
    // SAFETY: `limit` is a live rlimit.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) }, 0);
    assert_eq!(
        (refused, watch.check()),
        (Liveness::Unknown, Liveness::Alive)
    );
}

/// Looks at processes from inside a new pid namespace, over a `/proc` that shows the outer one.
fn role_namespace() -> i32 {
    let starter = from_text(&std::env::var(STARTER).expect("set"));
    let pid = fork(); // unshare(2) of a user namespace needs a process of one thread
    if pid != 0 {
        return reap(pid);
    }
    // SAFETY: takes an integer.
    let mut refused = unsafe { libc::unshare(libc::CLONE_NEWPID) };
    if refused != 0 {
        // SAFETY: takes an integer.
        refused = unsafe { libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWPID) };
    }
    if refused != 0 {
        exit(SKIPPED);
    }
    let pid = fork();
    if pid != 0 {
        exit(reap(pid));
    }
    let own = Process::current();
    if own.pid != 1 || own.pid_namespace == starter.pid_namespace || own.start != 0 {
        exit(2);
    }
    // One process that lives, one that does not exist, and one whose number is this process's own.
    for pid in [starter.pid, PID_LIMIT, 1] {
        if Watch::new(Process { pid, ..starter }).check() != Liveness::Unknown {
            exit(3);
        }
    }
    // A process of this namespace. This `/proc` shows another process under its number, so start
    // times must not be compared.
    let pid = fork();
    if pid == 0 {
        std::thread::sleep(HANG * 2);
        exit(0);
    }
    let peer = Process {
        pid: pid as u32,
        start: 1,
        ..own
    };
    let mut watch = Watch::new(peer);
    if watch.check() != Liveness::Alive {
        exit(4);
    }
    // SAFETY: takes two integers; the pid is that of our unreaped child.
    unsafe { libc::kill(pid, libc::SIGKILL) };
    if !is_gone(&mut watch) || reap(pid) != -1 || Watch::new(peer).check() != Liveness::Gone {
        exit(5);
    }
    exit(0)
}
