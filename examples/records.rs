//! Sends records of different lengths from one thread to another.
//!
//! ```text
//! cargo run --example records
//! ```
//!
//! A ring carries bytes. `shmpipe::records` puts a length of four bytes before each record. A
//! record is complete or absent, even if its writer is killed.
//!
//! Between processes the code is the same; `fork_pair` shows how two processes share a
//! ring.

use std::io::{self, Write};
use std::thread;

use shmpipe::records::{RecordReader, RecordWriter};

/// Bytes of the longest record. The reader refuses a greater length.
const MOST: usize = 1 << 20;

fn main() -> io::Result<()> {
    let (producer, consumer) = shmpipe::pair()?;
    let writing = thread::spawn(move || write(RecordWriter::new(producer)));
    read(RecordReader::new(consumer))?;
    writing.join().expect("the writer does not panic")
}

fn write(mut writer: RecordWriter) -> io::Result<()> {
    writer.set_most(MOST);
    for record in ["a record", "", "another, which is longer"] {
        writer.write(record.as_bytes())?;
    }
    // In place: whatever writes to an `io::Write` writes straight into the ring.
    let mut record = writer.reserve(100)?;
    write!(record, "written by process {}", std::process::id())?;
    record.commit();
    writer.write(&vec![b'x'; MOST])?;
    writer.into_inner().close()?;
    Ok(())
}

fn read(mut reader: RecordReader) -> io::Result<()> {
    reader.set_most(MOST);
    // All records that are there at once, in place. `reader.read` copies one out instead.
    while let Some(mut batch) = reader.batch()? {
        while let Some(record) = batch.next_record() {
            let mut start = [0; 30];
            let start = &mut start[..record.len().min(30)];
            record.read_at(start, 0);
            println!("{} bytes: {}", record.len(), String::from_utf8_lossy(start));
        }
        batch.consume();
    }
    Ok(())
}
