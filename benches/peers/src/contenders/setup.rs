//! The time in us to make a ring, pair it and drop it, beside the bare System V calls of
//! the same work.
#![allow(unsafe_code)] // the bare calls

use std::ffi::c_void;
use std::io;
use std::time::Instant;

use crate::board::{Board, Slot};
use crate::channel::Spec;
use crate::figures::stats::median;
use crate::job::Job;
use crate::name::Name;
use crate::run::{Plan, Sample};
use crate::sys::{self, Shared};

pub(crate) fn anonymous(spec: &Spec, _: Job, plan: &Plan, _: usize) -> Result<Sample, String> {
    let capacity = spec.capacity;
    timed(plan, move || {
        let mut options = shmpipe::Options::new();
        options.capacity(capacity);
        drop(options.create_anonymous().unwrap().split().unwrap());
    })
}

pub(crate) fn named(spec: &Spec, _: Job, plan: &Plan, _: usize) -> Result<Sample, String> {
    let name = Name::new();
    std::fs::write(name.path(), "").map_err(|error| error.to_string())?;
    let (capacity, path) = (spec.capacity, name.path());
    timed(plan, move || {
        let mut options = shmpipe::Options::new();
        options.capacity(capacity).wait_for_peer(false);
        let producer = options.open_producer(&path).unwrap();
        let consumer = options.open_consumer(&path).unwrap();
        drop((producer, consumer));
    })
}

pub(crate) fn bare_anonymous(spec: &Spec, _: Job, plan: &Plan, _: usize) -> Result<Sample, String> {
    let size = spec.capacity + HEADER;
    timed(plan, move || {
        let id = get(libc::IPC_PRIVATE, size, libc::IPC_CREAT | 0o600);
        let views = [attach(id), attach(id)];
        touch(views[0]);
        remove(id);
        views.into_iter().for_each(detach);
    })
}

pub(crate) fn bare_named(spec: &Spec, _: Job, plan: &Plan, _: usize) -> Result<Sample, String> {
    let size = spec.capacity + HEADER;
    // A key that only this process uses.
    let key = 0x7065_0000 | (std::process::id().cast_signed() & 0xffff);
    timed(plan, move || {
        let id = get(key, size, libc::IPC_CREAT | libc::IPC_EXCL | 0o600);
        let one = [attach(id), attach(id)];
        touch(one[0]);
        let found = get(key, 0, 0);
        let other = [attach(found), attach(found)];
        touch(other[0]);
        remove(id);
        one.into_iter().for_each(detach);
        other.into_iter().for_each(detach);
    })
}

const HEADER: usize = 4096;

fn get(key: libc::key_t, size: usize, flags: libc::c_int) -> libc::c_int {
    // SAFETY: numbers.
    let id = unsafe { libc::shmget(key, size, flags) };
    assert!(id >= 0, "shmget: {}", io::Error::last_os_error());
    id
}

fn attach(id: libc::c_int) -> *mut c_void {
    // SAFETY: the kernel chooses the address.
    let at = unsafe { libc::shmat(id, std::ptr::null(), 0) };
    assert_ne!(
        at.addr(),
        usize::MAX,
        "shmat: {}",
        io::Error::last_os_error()
    );
    at
}

/// Writes a word to each line of the header that a ring uses.
fn touch(view: *mut c_void) {
    for line in 0..4 {
        // SAFETY: inside the first page of our attachment.
        unsafe { view.cast::<u64>().add(16 * line).write_volatile(1) };
    }
}

fn remove(id: libc::c_int) {
    // SAFETY: a segment of ours; nothing is written to a null pointer.
    unsafe { libc::shmctl(id, libc::IPC_RMID, std::ptr::null_mut()) };
}

fn detach(view: *mut c_void) {
    // SAFETY: our attachment, which nothing refers to.
    unsafe { libc::shmdt(view) };
}

/// The median of many repetitions in a process of its own.
fn timed(plan: &Plan, mut turn: impl FnMut()) -> Result<Sample, String> {
    const WARM: usize = 20;
    let board = Shared::<Board>::new();
    let child = sys::fork(|| {
        sys::pin(plan.cpus[0]);
        (0..WARM).for_each(|_| turn());
        let end = Instant::now() + plan.time;
        let mut times = Vec::new();
        while Instant::now() < end {
            let start = Instant::now();
            turn();
            times.push(start.elapsed().as_nanos() as f64 / 1000.0);
        }
        board.reader.set(Slot::Value, median(&mut times));
    });
    sys::reap(&[child], plan.limit)?;
    Ok(Sample::bare(board.reader.get(Slot::Value)))
}
