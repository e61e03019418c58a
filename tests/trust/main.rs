//! Which segment is taken for which, by whom, and what is left of an attachment
//! that fails half way.
#![allow(unsafe_code)] // shmat, setuid, chroot, seccomp

#[path = "../common/mod.rs"]
mod common;
mod ids;
mod proc;
mod remap;
#[path = "../common/shmat.rs"]
mod shmat;
mod users;

fn skipped(test: &str, what: &str) {
    common::case_not_run(test, &format!("{what} could not be had"));
}

/// Makes this process one of another user, who has no groups but `group`. Says
/// whether that could be had.
fn become_user(user: u32, group: u32) -> bool {
    // SAFETY: no groups are read from the null pointer.
    let is_alone = unsafe { libc::setgroups(0, std::ptr::null()) } == 0;
    // SAFETY: integers.
    let has_group = unsafe { libc::setresgid(group, group, group) } == 0;
    // SAFETY: integers.
    is_alone && has_group && unsafe { libc::setresuid(user, user, user) } == 0
}
