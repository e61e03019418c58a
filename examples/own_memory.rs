//! Streams from a child to its parent through a memfd that the child inherits. Neither a
//! System V segment nor a path is needed.
//!
//! ```text
//! cargo run --example own_memory
//! ```

#![allow(unsafe_code)] // memfd_create, mmap, and the promise about the memory

use std::error::Error;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd};
use std::process::Command;
use std::ptr::{self, NonNull};

use shmpipe::Options;

/// 64 KiB for the ring, and a header of one page. Pages of up to 64 KiB fit.
const LEN: usize = 128 << 10;

fn main() -> Result<(), Box<dyn Error>> {
    match std::env::args().nth(1) {
        None => parent(),
        Some(fd) => child(fd.parse()?),
    }
}

fn parent() -> Result<(), Box<dyn Error>> {
    let file = memory_file()?;
    let memory = map(&file)?;
    // SAFETY: the memory is mapped until the process ends, and cannot shrink. Only rings
    // use it: this one, and the one that the child attaches later.
    let ring = unsafe { Options::new().create_in(memory, LEN) }?;
    println!("a ring of {} bytes", ring.capacity());

    let mut consumer = ring.into_consumer()?;
    let mut child = Command::new(std::env::current_exe()?)
        .arg(file.as_raw_fd().to_string())
        .spawn()?;
    // Wait for the child before reading. A ring in memory outlives its processes, so this
    // end would wait for ever for a child that never takes its end. The child's text fits
    // the ring.
    if !child.wait()?.success() {
        return Err("the child failed".into());
    }
    let mut text = String::new();
    consumer.read_to_string(&mut text)?;
    print!("{text}");
    Ok(())
}

/// Uses the descriptor that the parent has left open for this process.
fn child(fd: i32) -> Result<(), Box<dyn Error>> {
    // SAFETY: the parent has left the descriptor open, and it is used only here.
    let file = unsafe { File::from_raw_fd(fd) };
    let memory = map(&file)?;
    // SAFETY: the memory is mapped until the process ends, and cannot shrink. Only rings
    // use it.
    let ring = unsafe { Options::new().attach_in(memory, LEN) }?;
    let mut producer = ring.into_producer()?;
    writeln!(producer, "hello from process {}", std::process::id())?;
    producer.close()?;
    Ok(())
}

/// Makes a file in memory that stays open over exec, and cannot shrink.
fn memory_file() -> io::Result<File> {
    // SAFETY: the arguments are a string that ends with zero, and a number.
    let fd = unsafe { libc::memfd_create(c"ring".as_ptr(), libc::MFD_ALLOW_SEALING) };
    if fd == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is open, new, and nobody else's.
    let file = unsafe { File::from_raw_fd(fd) };
    file.set_len(LEN as u64)?;
    // SAFETY: the arguments are numbers.
    if unsafe { libc::fcntl(fd, libc::F_ADD_SEALS, libc::F_SEAL_SHRINK) } == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(file)
}

/// Maps the file for as long as the process lives.
fn map(file: &File) -> io::Result<NonNull<u8>> {
    // SAFETY: a new mapping; the kernel chooses the address.
    let start = unsafe {
        libc::mmap(
            ptr::null_mut(),
            LEN,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED,
            file.as_raw_fd(),
            0,
        )
    };
    if start == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(start.cast()).ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}
