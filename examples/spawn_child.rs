//! Streams from a child that was started with exec to its parent.
//!
//! ```text
//! cargo run --example spawn_child
//! ```
//!
//! exec gives up every attachment, so the child gets the id of the segment as
//! an argument and attaches it again. Here the child is this same program.

use std::error::Error;
use std::io::{self, Write};
use std::process::Command;
use std::time::Duration;

use shmpipe::Options;
use shmpipe::sysv::SegmentId;

fn main() -> Result<(), Box<dyn Error>> {
    match std::env::args().nth(1) {
        None => parent(),
        Some(id) => child(id.parse()?),
    }
}

fn parent() -> Result<(), Box<dyn Error>> {
    // Whoever has the id could attach at any time, so a child that fails before
    // it does is not noticed. The limit ends the wait for such a child.
    let ring = Options::new()
        .timeout(Duration::from_secs(10))
        .anonymous()?;
    // The ring must stay attached until the child has attached it.
    let mut child = Command::new(std::env::current_exe()?)
        .arg(ring.id().to_string())
        .spawn()?;

    let streamed = ring
        .into_consumer()
        .map_err(io::Error::from)
        .and_then(|mut consumer| io::copy(&mut consumer, &mut io::stdout()));
    let status = child.wait()?;
    println!("{} bytes received; the child: {status}", streamed?);
    if !status.success() {
        return Err("the child failed".into());
    }
    Ok(())
}

fn child(id: SegmentId) -> Result<(), Box<dyn Error>> {
    let mut producer = Options::new().attach(id)?.into_producer()?;
    writeln!(producer, "hello from process {}", std::process::id())?;
    producer.close()?;
    Ok(())
}
