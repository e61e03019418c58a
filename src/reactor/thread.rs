//! Starts a thread without taking a lock that a fork could leave held.
//!
//! `std::thread` is not used. Its first thread in a process reads the environment
//! under a lock, and each thread registers its stack under another lock. In a child
//! that was forked while another thread held such a lock, a new thread would wait
//! for ever. The C library releases the locks of its own thread functions in a
//! child of `fork(3)`.
#![allow(unsafe_code)] // the only caller of pthread_create

use std::ffi::{CStr, c_int, c_void};
use std::mem::MaybeUninit;
use std::{io, ptr};

use super::foreign::catch_panic;

/// Stack size in bytes, as for threads of `std`, since wakers are code of the
/// executor.
const STACK: usize = 2 << 20;

/// Starts a detached thread that runs `body`. The name has at most 15 bytes.
pub(super) fn start<F: FnOnce() + Send + 'static>(name: &'static CStr, body: F) -> io::Result<()> {
    let start = Box::into_raw(Box::new(Start { name, body }));
    let created = detached(|attributes| {
        let mut thread = MaybeUninit::uninit();
        // SAFETY: both pointers are to live values of the required types.
        // `run::<F>` gets the box that it expects. If the call succeeds, only that
        // thread uses the box.
        unsafe { libc::pthread_create(thread.as_mut_ptr(), attributes, run::<F>, start.cast()) }
    });
    if created.is_err() {
        // SAFETY: the pointer came from the box above, and no thread uses it.
        drop(unsafe { Box::from_raw(start) });
    }
    created
}

struct Start<F> {
    name: &'static CStr,
    body: F,
}

extern "C" fn run<F: FnOnce()>(start: *mut c_void) -> *mut c_void {
    // SAFETY: the pointer came from a box of this type in `start`, which leaves the
    // box to this thread.
    let start = unsafe { Box::from_raw(start.cast::<Start<F>>()) };
    // SAFETY: PR_SET_NAME reads a string that ends with a zero byte.
    unsafe { libc::prctl(libc::PR_SET_NAME, start.name.as_ptr()) };
    catch_panic(start.body); // a panic must not unwind into C
    ptr::null_mut()
}

/// Calls `create` with the attributes of a detached thread.
fn detached(create: impl FnOnce(*const libc::pthread_attr_t) -> c_int) -> io::Result<()> {
    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    let attributes = attributes.as_mut_ptr();
    // SAFETY: a live place for the attributes.
    done(unsafe { libc::pthread_attr_init(attributes) })?;
    // SAFETY: initialised by the call above. This holds for the calls below too.
    let created = done(unsafe { libc::pthread_attr_setstacksize(attributes, STACK) })
        .and_then(|()| {
            let state = libc::PTHREAD_CREATE_DETACHED;
            // SAFETY: initialised by `pthread_attr_init`.
            done(unsafe { libc::pthread_attr_setdetachstate(attributes, state) })
        })
        .and_then(|()| done(create(attributes)));
    // SAFETY: initialised by `pthread_attr_init`, and not used afterwards.
    unsafe { libc::pthread_attr_destroy(attributes) };
    created
}

/// Converts the result of a pthread function, which is an error number.
fn done(error: c_int) -> io::Result<()> {
    match error {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}
