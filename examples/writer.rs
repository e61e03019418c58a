//! Puts a string into shared memory and exits. `reader` prints it later.
//!
//! ```text
//! cargo run --example writer -- /tmp/greeting
//! cargo run --example reader -- /tmp/greeting
//! ```
//!
//! The ring is persistent: it outlives this process, until somebody removes it. Its key is
//! made from the file, as `ftok` does.
//!
//! Each run writes a stream of its own. After two runs, `reader` finds the second stream
//! after the first.

use std::error::Error;
use std::io::{self, Write};

use shmpipe::Options;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args_os().nth(1).ok_or("usage: writer PATH")?;
    print!("String: ");
    io::stdout().flush()?;
    let mut text = String::new();
    io::stdin().read_line(&mut text)?;

    // The file only names the ring. Nothing is written to it.
    let mut producer = Options::new()
        .persistent(true)
        .create_file(true)
        .open_producer(&path)?;
    // No reader may be running, so a blocking write could wait for room for ever.
    let written = producer.try_write(text.as_bytes())?;
    if written < text.len() {
        // Otherwise the reader would take a part for the whole.
        producer.abort();
        return Err(format!("only {written} of {} bytes fit the ring", text.len()).into());
    }
    producer.close()?;
    println!(
        "{written} bytes are in segment {}",
        producer.id().expect("a path leads to a segment")
    );
    Ok(())
}
