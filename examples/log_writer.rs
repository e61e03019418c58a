//! Writes a file into a ring that outlives this process. If it is killed and started
//! again, it continues at the exact byte.
//!
//! ```text
//! cargo run --example log_writer -- /tmp/log-ring big-file
//! cargo run --example relay -- /tmp/log-ring /tmp/spool
//! ```
//!
//! `resume` continues the stream of a process that died. With `abort_on_drop`, an error
//! breaks the stream off. Only `close` finishes it.

use std::error::Error;
use std::fs::File;
use std::io::{self, Seek, SeekFrom};

use shmpipe::Options;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args_os().skip(1);
    let (Some(path), Some(source)) = (args.next(), args.next()) else {
        return Err("usage: log_writer PATH SOURCE".into());
    };
    let mut log = Options::new()
        .create_file(true) // it only names the ring
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
