//! Streams from a forked child to its parent.
//!
//! ```text
//! cargo run --example fork_pair
//! ```
//!
//! Each process turns its own copy of the ring into its end. The segment is
//! removed at birth: it goes with the last of the two, however they end.

#![allow(unsafe_code)] // fork and waitpid

use std::error::Error;
use std::io::{self, BufRead, BufReader, Write};

use shmpipe::{Options, Ring};

fn main() -> Result<(), Box<dyn Error>> {
    // A child that fails on the way does not look as if it had finished.
    let mut options = Options::new();
    let ring = options
        .capacity(64 << 10)
        .abort_on_drop(true)
        .create_anonymous()?;

    // SAFETY: this process has one thread, so that the child may do anything.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error().into()),
        0 => write(ring),
        child => {
            read(ring)?;
            let mut status = 0;
            // SAFETY: `child` is ours and not yet reaped; `status` is an int.
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

/// In the child.
fn write(ring: Ring) -> Result<(), Box<dyn Error>> {
    let mut producer = ring.into_producer()?;
    for number in 1..=3 {
        writeln!(producer, "line {number} of process {}", std::process::id())?;
    }
    producer.close()?;
    Ok(())
}

/// In the parent.
fn read(ring: Ring) -> Result<(), Box<dyn Error>> {
    let consumer = ring.into_consumer()?;
    for line in BufReader::new(consumer).lines() {
        println!("process {} got: {}", std::process::id(), line?);
    }
    Ok(())
}
