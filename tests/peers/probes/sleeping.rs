//! Sleeping and waking, by the words and calls of the page.

use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::sync::mpsc;

use super::{Place, Subject, life_cycle_word, persistent, read};
use crate::common::offsets::STATE;
use crate::common::{Task, filter, options, poke, until};
use crate::languages::outcome;
use shmpipe::sysv::{self, SegmentId};

/// Whether futex(2) finds a sleeper at this word, from another process.
fn somebody_sleeps_at(id: SegmentId, offset: usize) -> bool {
    let Ok(attached) = sysv::attach(id) else {
        return false;
    };
    let word = attached.as_ptr().wrapping_add(offset);
    // SAFETY: the word lies in the attachment. Nothing is written.
    let woken = unsafe { libc::syscall(libc::SYS_futex, word, libc::FUTEX_WAKE, i32::MAX) };
    woken == 1
}

/// Whether a producer that finds no room sleeps as the page says, and is woken.
pub(super) fn sleeps_for_room(peer: &Subject) -> bool {
    let path = Place::new();
    let mut options = options();
    options.wait_for_peer(false).capacity(4096);
    let mut consumer = options.open_consumer(&path.0).unwrap();
    let id = consumer.id().unwrap();
    let mut producer = peer.peer(&format!("role=producer path={} bytes=5000", path.display()));
    // The ring is full, and the producer wants a quarter of it, or the rest.
    let slept = peer.sees(|| read(id, 392) as u32 == 1 && read(id, 400) == 904);
    let slept = slept && peer.sees(|| somebody_sleeps_at(id, 392));
    let mut bytes = vec![];
    consumer.set_timeout(peer.limit());
    slept
        && consumer.read_to_end(&mut bytes).is_ok()
        && bytes.len() == 5000
        && producer.find("peer: wrote").is_some()
}

/// Whether a consumer that finds no bytes sleeps as the page says.
pub(super) fn sleeps_for_bytes(peer: &Subject) -> bool {
    let path = Place::new();
    let mut options = options();
    options.wait_for_peer(false).capacity(4096);
    let mut producer = options.open_producer(&path.0).unwrap();
    let id = producer.id().unwrap();
    let mut consumer = peer.peer(&format!("role=consumer path={}", path.display()));
    peer.sees(|| read(id, 648) as u32 == 1 && read(id, 656) == 1)
        && peer.sees(|| somebody_sleeps_at(id, 648))
        && producer.write_all(&[]).is_ok()
        && producer.close().is_ok()
        && consumer.find("peer: ") == Some(outcome("finished", 0))
}

/// Whether a sleeper of another process is woken by the peer, who clears its word first.
pub(super) fn wakes(peer: &Subject) -> bool {
    let path = Place::new();
    let id = persistent(&path);
    poke(id, 648, &1_u32.to_ne_bytes());
    let (send, receive) = mpsc::channel();
    let limit = libc::timespec {
        tv_sec: peer.patience as i64,
        tv_nsec: 0,
    };
    let sleeper = std::thread::spawn(move || {
        let attached = sysv::attach(id).unwrap();
        let word = attached.as_ptr().wrapping_add(648);
        send.send(Task::current()).unwrap();
        // SAFETY: the word lies in the attachment, and the limit is read before the call returns.
        unsafe { libc::syscall(libc::SYS_futex, word, libc::FUTEX_WAIT, 1, &raw const limit) }
    });
    let task = receive.recv().unwrap();
    until(|| task.is_asleep());
    let words = format!("role=producer path={} kind=persistent", path.display());
    peer.peer(&words).ended();
    sleeper.join().unwrap() == 0 && read(id, 648) as u32 == 0
}

/// Whether a claimer calls the barrier that the last holder promised: a filter ends it there.
pub(super) fn barrier(peer: &Subject) -> bool {
    let path = Place::new();
    let id = persistent(&path);
    let words = format!("role=producer path={} kind=persistent", path.display());
    let ends_by_the_filter = |sleeping: u8| {
        poke(id, 392, &[sleeping]);
        let mut command = peer.command(&words);
        let filtered = || {
            let is_set = filter::install(&mut [
                filter::load(filter::CALL),
                filter::unless_equal(libc::SYS_membarrier as u32, 3),
                filter::load(filter::low_half(0)),
                filter::unless_equal(2, 1), // GLOBAL_EXPEDITED
                filter::give(libc::SECCOMP_RET_KILL_PROCESS),
                filter::give(libc::SECCOMP_RET_ALLOW),
            ]);
            is_set.then_some(()).ok_or(std::io::ErrorKind::Other.into())
        };
        // SAFETY: the closure makes two system calls, and allocates nothing.
        let command = unsafe { command.pre_exec(filtered) };
        let status = command.stdout(Stdio::null()).status().unwrap();
        std::os::unix::process::ExitStatusExt::signal(&status) == Some(libc::SIGSYS)
    };
    ends_by_the_filter(2) && !ends_by_the_filter(0)
}

/// Whether a peer that waited in vain leaves a ring that nobody can join.
pub(super) fn gives_up(peer: &Subject) -> bool {
    let path = Place::new();
    let words = format!("role=consumer path={} capacity=4096", path.display());
    let mut waits = peer.peer_that_gives_up(&words);
    let asleep = |id| read(id, 656) == u64::MAX && read(id, 648) as u32 == 1;
    let waiting = peer.sees(|| {
        let is = life_cycle_word(&path) == 0x1_0000_1001;
        is && path.segment().is_some_and(asleep)
    });
    let Some(id) = path.segment() else {
        return false;
    };
    let kept = sysv::attach_read_only(id);
    waits.ended();
    waiting && kept.is_ok() && read(id, STATE) & 0xff == 4
}
