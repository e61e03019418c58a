//! Receives a file from `send_file`. Run the two in two terminals, in any order.
//!
//! ```text
//! cargo run --example receive_file -- /tmp/ring /tmp/copy
//! cargo run --example send_file -- /tmp/ring Cargo.lock
//! ```

use std::error::Error;
use std::fs::File;
use std::io;

use shmpipe::Options;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args_os().skip(1);
    let (Some(path), Some(name)) = (args.next(), args.next()) else {
        return Err("usage: receive_file PATH OUT".into());
    };
    let mut file = File::create(&name)?;
    // Waits for the sender.
    let mut consumer = Options::new()
        .create_file(true) // it only names the ring, and whoever comes first makes it
        .open_consumer(&path)?;
    match io::copy(&mut consumer, &mut file) {
        Ok(bytes) => {
            println!("{bytes} bytes received");
            Ok(())
        }
        // The sender gave up or died, or the disk is full. The file holds only what came
        // before that.
        Err(error) => Err(format!("{} is not complete: {error}", name.display()).into()),
    }
}
