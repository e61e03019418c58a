//! Bytes between a ring and a file descriptor, of every kind, whole and in
//! part, and with every way that a descriptor can refuse them.
#![allow(unsafe_code)] // signals, fcntl, seccomp

mod kinds;
mod refusals;
mod waits;

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;

use shmpipe::{Consumer, Producer};

use crate::common::{check, stream, unique};

const CAPACITY: usize = 4096;

fn split() -> (Producer, Consumer) {
    crate::common::split(CAPACITY)
}

/// A ring whose producer and consumer stand at `position`.
fn split_at(position: usize) -> (Producer, Consumer) {
    let (mut producer, mut consumer) = split();
    producer.write_all(&vec![0; position]).unwrap();
    consumer.read_exact(&mut vec![0; position]).unwrap();
    (producer, consumer)
}

/// A file without a name, open for reading and writing.
fn nameless() -> File {
    let name: PathBuf = std::env::temp_dir().join(format!("shmpipe-transfer-{:016x}", unique()));
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create_new(true).open(&name);
    std::fs::remove_file(&name).unwrap();
    file.unwrap()
}

/// As [`nameless`], with `len` bytes of the stream of `seed`.
fn file_of(seed: u64, len: usize) -> File {
    let mut file = nameless();
    let part = 1 << 20;
    for position in (0..len).step_by(part) {
        let bytes = stream(seed, position as u64, part.min(len - position));
        file.write_all(&bytes).unwrap();
    }
    file.rewind().unwrap();
    file
}

/// Checks that `file` has `len` bytes of the stream of `seed` and no more.
#[track_caller]
fn check_file(mut file: File, seed: u64, len: usize) {
    file.rewind().unwrap();
    let mut bytes = vec![0; 1 << 20];
    let mut position = 0;
    loop {
        let read = file.read(&mut bytes).unwrap();
        if read == 0 {
            break;
        }
        check(seed, position, &bytes[..read]);
        position += read as u64;
    }
    assert_eq!(position, len as u64);
}

fn set_nonblocking(file: impl AsFd) {
    let file = file.as_fd().as_raw_fd();
    // SAFETY: an open descriptor and integers.
    let flags = unsafe { libc::fcntl(file, libc::F_GETFL) };
    // SAFETY: as above.
    let set = unsafe { libc::fcntl(file, libc::F_SETFL, flags | libc::O_NONBLOCK) };
    assert!(flags >= 0 && set == 0);
}
