//! Sends records of different lengths from a forked child to its parent.
//!
//! ```text
//! cargo run --example records
//! ```
//!
//! A ring carries bytes. Where one record ends and the next begins is for the
//! two sides to agree on: here each is its length, four bytes, and then
//! itself.

#![allow(unsafe_code)] // fork and waitpid

use std::error::Error;
use std::io::{self, ErrorKind, Read, Write};

use shmpipe::{Consumer, Options, Producer, Ring};

/// Bytes of the longest record. The reader believes no length beyond it.
const MOST: usize = 1 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    let ring = Options::new().anonymous()?;

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
    for record in ["a record", "", "another, which is longer"] {
        send(&mut producer, record.as_bytes())?;
    }
    send(&mut producer, &vec![b'x'; MOST])?;
    producer.close()?;
    Ok(())
}

/// In the parent.
fn read(ring: Ring) -> Result<(), Box<dyn Error>> {
    let mut consumer = ring.into_consumer()?;
    let mut record = Vec::new();
    while receive(&mut consumer, &mut record)? {
        let start = &record[..record.len().min(30)];
        println!("{} bytes: {}", record.len(), String::from_utf8_lossy(start));
    }
    Ok(())
}

fn send(producer: &mut Producer, record: &[u8]) -> io::Result<()> {
    let len = u32::try_from(record.len()).map_err(|_| ErrorKind::InvalidInput)?;
    if record.len() > MOST {
        return Err(ErrorKind::InvalidInput.into());
    }
    producer.write_all(&len.to_le_bytes())?;
    producer.write_all(record)
}

/// Fills `record` with the next one. `false` if the stream has ended, after a
/// whole record; an end within one is an error.
fn receive(consumer: &mut Consumer, record: &mut Vec<u8>) -> io::Result<bool> {
    let mut len = [0; 4];
    if consumer.read(&mut len[..1])? == 0 {
        return Ok(false);
    }
    consumer.read_exact(&mut len[1..])?;
    let len = u32::from_le_bytes(len) as usize;
    if len > MOST {
        return Err(ErrorKind::InvalidData.into());
    }
    record.resize(len, 0);
    consumer.read_exact(record)?;
    Ok(true)
}
