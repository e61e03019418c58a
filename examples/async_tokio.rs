//! Streams from a child process to its parent. Both run on tokio.
//!
//! ```text
//! cargo run --features async --example async_tokio
//! ```
//!
//! The handles implement the traits of `futures-io`. `tokio_util::compat` turns them into
//! tokio's. While the child pauses, the parent's task sleeps, and its thread does other
//! work.

use std::error::Error;
use std::process::Command;
use std::time::Duration;

use shmpipe::asynchronous::{AsyncConsumer, AsyncProducer};
use shmpipe::{Options, Producer};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio_util::compat::{FuturesAsyncReadCompatExt, FuturesAsyncWriteCompatExt};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    match std::env::args().nth(1).as_deref() {
        None => parent().await,
        Some("child") => child().await,
        Some(_) => Err("usage: async_tokio".into()),
    }
}

async fn parent() -> Result<(), Box<dyn Error>> {
    let ring = Options::new().create_anonymous()?;
    let mut command = Command::new(std::env::current_exe()?);
    let (consumer, mut child) = ring.spawn_producer(command.arg("child"))?;

    let mut lines = BufReader::new(AsyncConsumer::new(consumer).compat()).lines();
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    let mut waited = 0;
    loop {
        tokio::select! {
            // Cancel-safe: if a tick comes first, no part of a line is lost.
            line = lines.next_line() => match line? {
                Some(line) => println!("{line}"),
                None => break, // the child has finished
            },
            _ = ticks.tick() => waited += 1,
        }
    }
    println!("the task ticked meanwhile: {}", waited > 0);

    let status = child.wait()?; // its stream is finished
    if !status.success() {
        return Err("the child failed".into());
    }
    Ok(())
}

async fn child() -> Result<(), Box<dyn Error>> {
    // Taking an end from the parent does not wait. Opening a ring by path does: call that
    // in tokio::task::spawn_blocking.
    let mut producer = AsyncProducer::new(Producer::from_parent()?);
    producer.set_abort_on_drop(true); // a dropped task leaves an unfinished stream
    let mut producer = producer.compat_write();
    for number in 1..=3 {
        tokio::time::sleep(Duration::from_millis(30)).await;
        let line = format!("line {number} of process {}\n", std::process::id());
        producer.write_all(line.as_bytes()).await?;
    }
    producer.shutdown().await?; // finishes the stream
    Ok(())
}
