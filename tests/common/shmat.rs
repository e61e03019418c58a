//! `shmat` in place of the C library's, for a process to which something is to
//! happen at this point. A binary that wants it names this file itself: the
//! function is there for the whole binary.
#![allow(dead_code)] // each test binary uses a part
#![allow(unsafe_code)] // shmat(2)

use std::sync::Mutex;

enum Hook {
    Next(Box<dyn FnOnce() + Send>),
    Each(fn()),
}

static BEFORE: Mutex<Option<Hook>> = Mutex::new(None);

/// Runs `hook` before the next `shmat` of this process.
pub(crate) fn before_next_shmat(hook: impl FnOnce() + Send + 'static) {
    *BEFORE.lock().unwrap() = Some(Hook::Next(Box::new(hook)));
}

/// Runs `hook` before each `shmat` of this process from here on.
pub(crate) fn before_each_shmat(hook: fn()) {
    *BEFORE.lock().unwrap() = Some(Hook::Each(hook));
}

/// Whether a hook is still to run.
pub(crate) fn has_hook() -> bool {
    BEFORE.lock().unwrap().is_some()
}

/// # Safety
///
/// As for shmat(2).
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[unsafe(no_mangle)]
unsafe extern "C" fn shmat(
    id: libc::c_int,
    address: *const libc::c_void,
    flags: libc::c_int,
) -> *mut libc::c_void {
    let hook = BEFORE.lock().unwrap().take();
    match hook {
        Some(Hook::Next(hook)) => hook(), // without the lock: it may attach, too
        Some(Hook::Each(hook)) => {
            *BEFORE.lock().unwrap() = Some(Hook::Each(hook));
            hook();
        }
        None => {}
    }
    let (id, flags) = (libc::c_long::from(id), libc::c_long::from(flags));
    // SAFETY: the caller vouches for the address.
    unsafe { libc::syscall(libc::SYS_shmat, id, address, flags) as *mut libc::c_void }
}
