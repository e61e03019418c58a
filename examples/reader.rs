//! Prints the strings that `writer` has left in shared memory, and removes them.
//!
//! ```text
//! cargo run --example writer -- /tmp/greeting
//! cargo run --example reader -- /tmp/greeting
//! ```

use std::error::Error;
use std::io::{self, Read, Write};
use std::time::Duration;

use shmpipe::{Consumer, Options};

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args_os().nth(1).ok_or("usage: reader PATH")?;

    // Where no writer has been, this makes an empty ring and reading waits
    // for one; hence the limit.
    let mut consumer = Options::new()
        .persistent(true)
        .timeout(Some(Duration::from_secs(2)))
        .open_consumer(&path)?;
    let mut text = Vec::new();
    let read = read_all(&mut consumer, &mut text);
    drop(consumer);

    // It persists until it is removed. A ring that somebody else has open is left
    // alone; `force_remove` would remove that, too.
    let removed = Options::new().remove(&path);

    read?;
    io::stdout().write_all(&text)?;
    removed?;
    Ok(())
}

/// Reads the stream of each writer that has been there, one at least.
fn read_all(consumer: &mut Consumer, text: &mut Vec<u8>) -> io::Result<()> {
    loop {
        consumer.read_to_end(text)?;
        consumer.next_stream()?;
        // Neither bytes of another stream nor its end.
        if consumer.available()? == 0 && !consumer.is_closed() {
            return Ok(());
        }
    }
}
