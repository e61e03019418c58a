//! Sends records of different lengths from one thread to another.
//!
//! ```text
//! cargo run --example records
//! ```
//!
//! A ring carries bytes. The two sides must agree on where a record ends. Here each record
//! comes behind its length, which has four bytes.
//!
//! Between processes the code is the same; `fork_pair` shows how two processes share a
//! ring.

use std::io::{self, ErrorKind, Read, Write};
use std::thread;

use shmpipe::{Consumer, Producer};

/// Bytes of the longest record. The reader refuses a greater length.
const MOST: usize = 1 << 20;

fn main() -> io::Result<()> {
    let (producer, consumer) = shmpipe::pair()?;
    let writing = thread::spawn(move || write(producer));
    read(consumer)?;
    writing.join().expect("the writer does not panic")
}

fn write(mut producer: Producer) -> io::Result<()> {
    for record in ["a record", "", "another, which is longer"] {
        send(&mut producer, record.as_bytes())?;
    }
    send(&mut producer, &vec![b'x'; MOST])?;
    producer.close()?;
    Ok(())
}

fn read(mut consumer: Consumer) -> io::Result<()> {
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

/// Reads the next record. `false` if the stream has ended after a whole record. An end
/// within a record is an error.
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
