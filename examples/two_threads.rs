//! Streams from one thread to another.
//!
//! ```text
//! cargo run --example two_threads
//! ```

use std::error::Error;
use std::io::{self, Read, Write};
use std::thread;

/// Many times the capacity of the ring.
const BYTES: usize = 64 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    let (mut producer, mut consumer) = shmpipe::pair()?;

    let writer = thread::spawn(move || -> io::Result<()> {
        let block: Vec<u8> = (0..=255).cycle().take(1 << 20).collect();
        for _ in 0..BYTES / block.len() {
            producer.write_all(&block)?;
        }
        producer.close()?;
        Ok(())
    });

    let mut bytes = vec![0; 64 << 10];
    let mut position = 0;
    loop {
        let len = consumer.read(&mut bytes)?;
        if len == 0 {
            break; // the writer has finished
        }
        for byte in &bytes[..len] {
            if usize::from(*byte) != position % 256 {
                return Err(format!("byte {position} is {byte}").into());
            }
            position += 1;
        }
    }
    writer.join().map_err(|_| "the writer panicked")??;

    println!("{position} bytes, all as they were written");
    println!("the reader: {:?}", consumer.stats());
    if position != BYTES {
        return Err(format!("not {BYTES}").into());
    }
    Ok(())
}
