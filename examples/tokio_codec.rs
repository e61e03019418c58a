//! Frames from a child process to its parent, on tokio.
//!
//! ```text
//! cargo run --features tokio --example tokio_codec
//! ```
//!
//! With the feature `tokio`, the handles implement tokio's own traits. So the codecs of
//! tokio-util work on them. The parent goes on with other work while it waits for a frame.

use std::error::Error;
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use shmpipe::asynchronous::{AsyncConsumer, AsyncProducer};
use shmpipe::{Options, Producer};
use tokio::io::AsyncWriteExt;
use tokio_util::codec::{FramedRead, FramedWrite, LengthDelimitedCodec};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    match std::env::args().nth(1).as_deref() {
        None => parent().await,
        Some("child") => child().await,
        Some(_) => Err("usage: tokio_codec".into()),
    }
}

async fn parent() -> Result<(), Box<dyn Error>> {
    let ring = Options::new().create_anonymous()?;
    let mut command = Command::new(std::env::current_exe()?);
    let (consumer, mut child) = ring.spawn_producer(command.arg("child"))?;

    let consumer = AsyncConsumer::from(consumer);
    let mut frames = FramedRead::new(consumer, LengthDelimitedCodec::new());
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    let mut waited = 0;
    loop {
        tokio::select! {
            // Cancel-safe: if a tick comes first, no part of a frame is lost.
            frame = frames.next() => match frame {
                Some(frame) => println!("{}", String::from_utf8_lossy(&frame?)),
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
    let mut producer = AsyncProducer::from(Producer::from_parent()?);
    producer.set_abort_on_drop(true); // a dropped task leaves an unfinished stream
    let mut frames = FramedWrite::new(producer, LengthDelimitedCodec::new());
    for number in 1..=3 {
        tokio::time::sleep(Duration::from_millis(30)).await;
        let frame = format!("frame {number} of process {}", std::process::id());
        frames.send(Bytes::from(frame)).await?; // flushes
    }
    frames.get_mut().shutdown().await?; // finishes the stream
    Ok(())
}
