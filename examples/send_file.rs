//! Sends a file to `receive_file`. Run the two in two terminals, in any order.
//!
//! ```text
//! cargo run --example send_file -- /tmp/ring Cargo.lock
//! cargo run --example receive_file -- /tmp/ring /tmp/copy
//! ```

use std::error::Error;
use std::ffi::OsStr;
use std::fs::File;
use std::io;

use shmpipe::{Options, Producer};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args_os().skip(1);
    let (Some(path), Some(name)) = (args.next(), args.next()) else {
        return Err("usage: send_file PATH FILE".into());
    };
    // The file at PATH only names the ring; whoever comes first makes it.
    File::options().append(true).create(true).open(&path)?;

    // Waits for the receiver.
    let mut producer = Options::new().producer(&path)?;
    match send(&name, &mut producer) {
        Ok(bytes) => {
            producer.close()?;
            println!("{bytes} bytes sent");
            Ok(())
        }
        Err(error) => {
            // A drop would finish the stream, and the receiver would take what
            // it has for the whole file.
            producer.abort();
            Err(error.into())
        }
    }
}

/// Copies the file `name` into the ring.
fn send(name: &OsStr, producer: &mut Producer) -> io::Result<u64> {
    io::copy(&mut File::open(name)?, producer)
}
