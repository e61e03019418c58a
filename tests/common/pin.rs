//! Which processors a thread may use. The benches and the comparison share it.
#![allow(dead_code)] // each user has a part of it
#![allow(unsafe_code)] // sched_setaffinity(2)

use std::io;

/// The processors that this thread may use, by number.
pub(crate) fn allowed_cpus() -> Vec<usize> {
    // SAFETY: all zero is an empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: `set` is as long as the size says.
    let done = unsafe { libc::sched_getaffinity(0, size_of_val(&set), &raw mut set) };
    assert_eq!(done, 0, "{}", io::Error::last_os_error());
    let is_allowed = |&cpu: &usize| {
        // SAFETY: the number is below the size of the set.
        unsafe { libc::CPU_ISSET(cpu, &set) }
    };
    (0..libc::CPU_SETSIZE as usize).filter(is_allowed).collect()
}

/// Keeps the calling thread to some of the processors that were allowed.
pub(crate) fn pin_to(cpus: &[usize]) -> io::Result<()> {
    // SAFETY: all zero is an empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    for &cpu in cpus {
        assert!(cpu < libc::CPU_SETSIZE as usize);
        // SAFETY: the number is below the size of the set.
        unsafe { libc::CPU_SET(cpu, &mut set) };
    }
    // SAFETY: `set` is as long as the size says.
    match unsafe { libc::sched_setaffinity(0, size_of_val(&set), &raw const set) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
