//! Starts a thread without a lock that a fork could leave held.
//!
//! Not by `std::thread`: the first such thread of a process reads the environment under a lock, and
//! each one notes its stack under another as it starts. In a child that was forked while another
//! thread held one of them, the new thread would wait for ever. What the C library locks for a
//! thread it makes free again in a child of its `fork(3)`.
#![allow(unsafe_code)] // the only caller of pthread_create

use std::ffi::{CStr, c_int, c_void};
use std::mem::MaybeUninit;
use std::{io, ptr};

use super::foreign::contained;

/// Bytes of its stack, as many as `std` gives a thread: a waker is code of the executor.
const STACK: usize = 2 << 20;

/// Starts a thread of this name, at most 15 bytes, that runs `body` and that nobody joins.
pub(super) fn start<F: FnOnce() + Send + 'static>(name: &'static CStr, body: F) -> io::Result<()> {
    let start = Box::into_raw(Box::new(Start { name, body }));
    let created = detached(|attributes| {
        let mut thread = MaybeUninit::uninit();
        // SAFETY: both pointers are to live places for what they are said to be. `run::<F>` gets
        // the box that it expects, and is the only one to use it where the call succeeds.
        unsafe { libc::pthread_create(thread.as_mut_ptr(), attributes, run::<F>, start.cast()) }
    });
    if created.is_err() {
        // SAFETY: it came from a box above, and there is no thread that uses it.
        drop(unsafe { Box::from_raw(start) });
    }
    created
}

struct Start<F> {
    name: &'static CStr,
    body: F,
}

extern "C" fn run<F: FnOnce()>(start: *mut c_void) -> *mut c_void {
    // SAFETY: it came from a box of this type in `start`, which leaves it to this thread.
    let start = unsafe { Box::from_raw(start.cast::<Start<F>>()) };
    // SAFETY: PR_SET_NAME reads a string that ends with a zero.
    unsafe { libc::prctl(libc::PR_SET_NAME, start.name.as_ptr()) };
    contained(start.body); // a panic must not leave a function of C
    ptr::null_mut()
}

/// Calls `create` with the attributes of a thread that nobody joins.
fn detached(create: impl FnOnce(*const libc::pthread_attr_t) -> c_int) -> io::Result<()> {
    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    let attributes = attributes.as_mut_ptr();
    // SAFETY: a live place for attributes.
    done(unsafe { libc::pthread_attr_init(attributes) })?;
    // SAFETY: made by the call above, as for the calls below.
    let created = done(unsafe { libc::pthread_attr_setstacksize(attributes, STACK) })
        .and_then(|()| {
            let state = libc::PTHREAD_CREATE_DETACHED;
            // SAFETY: as above.
            done(unsafe { libc::pthread_attr_setdetachstate(attributes, state) })
        })
        .and_then(|()| done(create(attributes)));
    // SAFETY: as above; not used again.
    unsafe { libc::pthread_attr_destroy(attributes) };
    created
}

/// The calls of pthreads give the error itself.
fn done(error: c_int) -> io::Result<()> {
    match error {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}
