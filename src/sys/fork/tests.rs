//! Tests epochs in every kind of child, in threads that race for the first use, and without the
//! page.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::Barrier;

use super::*;

/// Selects the half of a test that needs a process of its own.
const ROLE: &str = "SHMPIPE_FORK_TEST_ROLE";

/// Makes a child by fork(3): the kernel wipes and the handler runs.
fn by_fork() -> libc::pid_t {
    // SAFETY: the callers' children call only atomics, fork, waitpid and _exit, which are all
    // async-signal-safe.
    unsafe { libc::fork() }
}

/// Makes a child by the bare system call: only the kernel wipes.
fn by_clone() -> libc::pid_t {
    // SAFETY: the flags ask for a copied address space, as in by_fork, and no pointer is passed.
    // The callers' children do only what by_fork's may do.
    let pid = unsafe {
        libc::syscall(
            libc::SYS_clone,
            libc::SIGCHLD as libc::c_long,
            0usize,
            0usize,
            0usize,
            0usize,
        )
    };
    pid as libc::pid_t
}

/// The answer of `question` in a child. The child makes no allocation and does not unwind.
fn in_child(make: fn() -> libc::pid_t, question: impl FnOnce() -> bool) -> bool {
    let pid = make();
    if pid == 0 {
        // SAFETY: takes an integer. A child that hangs is killed, which reads as "no".
        unsafe { libc::alarm(5) };
        let answer = question();
        // SAFETY: ends the process at once; none of its memory is used again.
        unsafe { libc::_exit(i32::from(!answer)) };
    }
    assert!(
        pid > 0,
        "cannot make a child: {}",
        io::Error::last_os_error()
    );
    let mut status = -1;
    // SAFETY: `status` is a live, writable int.
    let waited = unsafe { libc::waitpid(pid, &mut status, 0) };
    waited == pid && status == 0
}

/// Runs the named test of this module alone in a new process, in its other role.
fn alone(test: &str) {
    let path = module_path!().split_once("::").map_or("", |(_, path)| path);
    let output = Command::new(std::env::current_exe().expect("the path of this program"))
        .args(["--exact", &format!("{path}::{test}"), "--nocapture"])
        .env(ROLE, "1")
        .output()
        .expect("this program runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        String::from_utf8_lossy(&output.stdout).contains("1 passed"),
        "no test named {path}::{test}"
    );
}

fn is_alone() -> bool {
    std::env::var_os(ROLE).is_some()
}

#[test]
fn an_epoch_is_stable_in_its_process() {
    let epoch = Epoch::current();
    assert!(epoch.is_current());
    assert_eq!(epoch, Epoch::current());
    assert_eq!(
        std::thread::spawn(Epoch::current).join().expect("no panic"),
        epoch
    );
}

#[test]
fn a_child_has_an_epoch_of_its_own() {
    for make in [by_fork, by_clone] {
        let epoch = Epoch::current();
        let is_new = in_child(make, || {
            let inherited = epoch.is_current();
            let own = Epoch::current();
            !inherited
                && own != epoch
                && own.is_current()
                && !epoch.is_current()
                && own == Epoch::current()
        });
        assert!(is_new);
        assert!(epoch.is_current(), "the parent's stays");
    }
}

#[test]
fn a_grandchild_has_neither_of_its_ancestors() {
    for (first, second) in [
        (by_fork as fn() -> _, by_fork as fn() -> _),
        (by_fork, by_clone),
        (by_clone, by_clone),
    ] {
        let epoch = Epoch::current();
        let is_new = in_child(first, || {
            let child = Epoch::current();
            let below = in_child(second, || {
                let inherited = epoch.is_current() || child.is_current();
                let own = Epoch::current();
                !inherited && own != epoch && own != child && own.is_current()
            });
            below && child.is_current()
        });
        assert!(is_new);
        // A child that never asked for an epoch, and a grandchild that does.
        assert!(in_child(first, || in_child(second, || !epoch.is_current()
            && Epoch::current() != epoch)));
        assert!(epoch.is_current());
    }
}

#[test]
fn spawning_a_command_leaves_the_epoch_current() {
    let epoch = Epoch::current();
    let mut command = Command::new("true");
    assert!(
        command
            .stdout(Stdio::null())
            .status()
            .expect("true runs")
            .success()
    ); // by posix_spawn(3)
    assert!(epoch.is_current());
    let in_between = move || {
        if epoch.is_current() {
            Err(io::ErrorKind::Other.into())
        } else {
            Ok(())
        }
    };
    // SAFETY: the closure makes two atomic loads and no allocation.
    unsafe { command.pre_exec(in_between) };
    assert!(
        command
            .status()
            .expect("not current between fork and exec")
            .success()
    ); // by fork(3)
    assert!(epoch.is_current());
}

#[test]
fn threads_that_race_for_the_first_use_agree() {
    if !is_alone() {
        (0..20).for_each(|_| alone("threads_that_race_for_the_first_use_agree"));
        return;
    }
    let barrier = Barrier::new(8);
    let first_use = || {
        barrier.wait();
        let epoch = Epoch::current();
        assert!(epoch.is_current());
        epoch
    };
    let epochs = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(first_use)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("no panic"))
            .collect::<Vec<_>>()
    });
    assert!(epochs.iter().all(|epoch| *epoch == epochs[0]));
    assert!(
        in_child(by_clone, || !epochs[0].is_current()),
        "all saw the page that is wiped"
    );
}

#[test]
fn without_the_page_the_handler_alone_detects_a_fork() {
    if !is_alone() {
        return alone("without_the_page_the_handler_alone_detects_a_fork");
    }
    let epoch = Epoch::current();
    let page = (&raw const STATE.page).cast_mut().cast();
    // SAFETY: the advice changes only what a child sees, which then is the page as it is.
    let kept = unsafe { libc::madvise(page, size_of::<Page>(), libc::MADV_KEEPONFORK) };
    assert_eq!(kept, 0);
    assert!(epoch.is_current());
    assert!(in_child(by_fork, || !epoch.is_current() && Epoch::current() != epoch));
    assert!(
        in_child(by_clone, || epoch.is_current()),
        "the documented limit"
    );
}
