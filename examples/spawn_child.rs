//! Streams to a parent from its child, which was started with exec.
//!
//! ```text
//! cargo run --example spawn_child
//! ```
//!
//! The child is this same program. It could be any program that calls
//! `Producer::from_parent`, such as `shmpipe send --from-parent`.

use std::error::Error;
use std::io::{self, Write};
use std::process::Command;

use shmpipe::{Options, Producer};

fn main() -> Result<(), Box<dyn Error>> {
    match std::env::args().nth(1).as_deref() {
        None => parent(),
        Some("child") => child(),
        Some(_) => Err("usage: spawn_child".into()),
    }
}

fn parent() -> Result<(), Box<dyn Error>> {
    let ring = Options::new().create_anonymous()?;
    let mut command = Command::new(std::env::current_exe()?);
    let (mut consumer, mut child) = ring.spawn_producer(command.arg("child"))?;

    // Fails if the child ends before it has finished the stream, or before it has taken its
    // end.
    let streamed = io::copy(&mut consumer, &mut io::stdout());
    let status = child.wait()?;
    println!("{} bytes received; the child: {status}", streamed?);
    if !status.success() {
        return Err("the child failed".into());
    }
    Ok(())
}

fn child() -> Result<(), Box<dyn Error>> {
    let mut producer = Producer::from_parent()?;
    producer.set_abort_on_drop(true); // `?` does not finish the stream
    writeln!(producer, "hello from process {}", std::process::id())?;
    producer.close()?;
    Ok(())
}
