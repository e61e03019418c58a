//! Sends a file to `receive_file`. Run the two in two terminals, in any order.
//!
//! ```text
//! cargo run --example send_file -- /tmp/ring Cargo.lock
//! cargo run --example receive_file -- /tmp/ring /tmp/copy
//! ```

use std::error::Error;
use std::fs::File;
use std::io;

use shmpipe::Options;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args_os().skip(1);
    let (Some(path), Some(name)) = (args.next(), args.next()) else {
        return Err("usage: send_file PATH FILE".into());
    };
    // Waits for the receiver. From here on, a `?` breaks the stream off: the receiver does
    // not take a part for the whole file.
    let mut producer = Options::new()
        .create_file(true) // it only names the ring, and whoever comes first makes it
        .abort_on_drop(true)
        .open_producer(&path)?;
    let bytes = io::copy(&mut File::open(name)?, &mut producer)?;
    producer.close()?;
    println!("{bytes} bytes sent");
    Ok(())
}
