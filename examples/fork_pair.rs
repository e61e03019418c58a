//! Streams from a forked child to its parent.
//!
//! ```text
//! cargo run --example fork_pair
//! ```
//!
//! Each process turns its own copy of the ring into its end. The segment is marked for
//! removal at birth. The kernel frees it with the last of the two processes, however they
//! end.

#![allow(unsafe_code)] // fork and waitpid

use std::error::Error;
use std::io::{self, BufRead, BufReader, Write};

use shmpipe::{Options, Ring};

fn main() -> Result<(), Box<dyn Error>> {
    // With `abort_on_drop`, a child that fails does not finish the stream.
    let mut options = Options::new();
    let ring = options
        .capacity(64 << 10)
        .abort_on_drop(true)
        .create_anonymous()?;

    // SAFETY: this process has one thread, so the child may call anything.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error().into()),
        0 => write(ring),
        child => {
            read(ring)?;
            let mut status = 0;
            // SAFETY: `child` is our child and not yet reaped. The kernel writes an int to
            // `status`.
            if unsafe { libc::waitpid(child, &raw mut status, 0) } != child {
                return Err(io::Error::last_os_error().into());
            }
            match libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0 {
                true => Ok(()),
                false => Err("the child failed".into()),
            }
        }
    }
}

/// Runs in the child.
fn write(ring: Ring) -> Result<(), Box<dyn Error>> {
    let mut producer = ring.into_producer()?;
    for number in 1..=3 {
        writeln!(producer, "line {number} of process {}", std::process::id())?;
    }
    producer.close()?;
    Ok(())
}

/// Runs in the parent.
fn read(ring: Ring) -> Result<(), Box<dyn Error>> {
    let consumer = ring.into_consumer()?;
    for line in BufReader::new(consumer).lines() {
        println!("process {} got: {}", std::process::id(), line?);
    }
    Ok(())
}
