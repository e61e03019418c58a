//! Prints the strings that `writer` has left in shared memory, and removes the ring.
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

    // If no writer has been there, this makes an empty ring, and reading waits for a
    // writer. So the wait has a time limit.
    let mut consumer = Options::new()
        .persistent(true)
        .timeout(Some(Duration::from_secs(2)))
        .open_consumer(&path)?;
    let mut text = Vec::new();
    let read = read_all(&mut consumer, &mut text);
    drop(consumer);

    // The ring persists until it is removed. A ring that another process has open is left
    // alone. `force_remove` would remove that ring, too.
    let removed = Options::new().remove(&path);

    read?;
    io::stdout().write_all(&text)?;
    removed?;
    Ok(())
}

/// Reads the streams of all writers that have been there; at least one.
fn read_all(consumer: &mut Consumer, text: &mut Vec<u8>) -> io::Result<()> {
    loop {
        consumer.read_to_end(text)?;
        consumer.next_stream()?;
        // No byte of another stream is there, and no end of an empty one.
        if consumer.available()? == 0 && !consumer.is_closed() {
            return Ok(());
        }
    }
}
