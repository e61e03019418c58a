//! Writes a file into a ring that outlives this process; killed and started
//! again, it goes on at the exact byte.
//!
//! ```text
//! cargo run --example log_writer -- /tmp/log-ring big-file
//! cargo run --example relay -- /tmp/log-ring /tmp/spool
//! ```
//!
//! `resume` goes on with the stream of a process that died. `abort_on_drop`
//! breaks the stream off when this one fails on the way: only `close` makes it
//! a whole one.

use std::error::Error;
use std::fs::File;
use std::io::{self, Seek, SeekFrom};

use shmpipe::Options;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args_os().skip(1);
    let (Some(path), Some(source)) = (args.next(), args.next()) else {
        return Err("usage: log_writer PATH SOURCE".into());
    };
    // The file only names the ring. Nothing is written to it.
    File::options().append(true).create(true).open(&path)?;

    let mut log = Options::new()
        .persistent(true)
        .capacity(1 << 16)
        .resume(true)
        .abort_on_drop(true)
        .open_producer(&path)?;
    let mut source = File::open(source)?;
    let start = log.stream_position();
    source.seek(SeekFrom::Start(start))?;
    println!("from byte {start} on");
    io::copy(&mut source, &mut log)?; // waits for a reader when the ring is full
    log.close()?;
    Ok(())
}
