//! What futures leave that are dropped before they are ready: nothing.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use futures::io::{AsyncReadExt, AsyncWriteExt};
use shmpipe::asynchronous::{AsyncConsumer, AsyncProducer};
use shmpipe::{Consumer, Producer};
use tokio::time::timeout;

use crate::common::{End, Exec, Fork, alone, check, part, stream, unique};
use crate::{poll_once, ring};

const SEED: u64 = 0xca9ce1;
const LEN: u64 = 1_000_000;

/// From nothing to several wakes.
fn moment(random: &mut Rng) -> Duration {
    Duration::from_micros(random.u64(..400))
}

fn block_on<F: Future>(future: F) -> F::Output {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().build().unwrap().block_on(future)
}

/// Writes the stream in pieces, each with as many tries as it takes; gives
/// how many were dropped.
async fn write(mut producer: AsyncProducer, mut random: Rng) -> u64 {
    let (mut position, mut dropped) = (0, 0);
    while position < LEN {
        let len = random.u64(1..=3000).min(LEN - position);
        let bytes = stream(SEED, position, len as usize);
        match timeout(moment(&mut random), producer.write(&bytes)).await {
            Ok(written) => position += written.unwrap() as u64,
            Err(_) => dropped += 1,
        }
        assert_eq!(producer.get_ref().position(), position);
        if random.u64(..20) == 0 {
            tokio::time::sleep(moment(&mut random)).await;
        }
    }
    producer.close().await.unwrap();
    dropped
}

/// Reads it likewise.
async fn read(mut consumer: AsyncConsumer, mut random: Rng) -> u64 {
    let (mut position, mut dropped) = (0, 0);
    let mut bytes = [0; 3000];
    loop {
        let len = random.usize(1..=3000);
        match timeout(moment(&mut random), consumer.read(&mut bytes[..len])).await {
            Ok(Ok(0)) => break,
            Ok(read) => {
                let read = read.unwrap();
                check(SEED, position, &bytes[..read]);
                position += read as u64;
            }
            Err(_) => dropped += 1,
        }
        assert_eq!(consumer.get_ref().position(), position);
        if random.u64(..20) == 0 {
            tokio::time::sleep(moment(&mut random)).await;
        }
    }
    assert_eq!(position, LEN);
    dropped
}

#[test]
fn dropped_calls_lose_and_repeat_nothing() {
    alone("cancel::dropped_calls_lose_and_repeat_nothing", || {
        let mut dropped = 0;
        for _ in 0..5 {
            let mut ring = Some(ring(4096));
            let (one, other) = (unique(), unique());
            println!("seeds: {one} {other}");
            let mut child = Fork::new(|| {
                let producer: Producer = ring.take().unwrap().into_producer().unwrap();
                block_on(write(AsyncProducer::new(producer), Rng::with_seed(one)));
            });
            let consumer: Consumer = ring.take().unwrap().into_consumer().unwrap();
            dropped += block_on(read(AsyncConsumer::new(consumer), Rng::with_seed(other)));
            assert_eq!(child.wait(), End::Exit(0));
        }
        println!("{dropped} reads were dropped");
        assert!(dropped > 0, "no read was dropped: nothing is tested");
    });
}

/// An async producer that is dropped while a write is pending still waits for a child.
#[test]
fn a_producer_dropped_while_pending_waits_for_a_child() {
    const NAME: &str = "cancel::a_producer_dropped_while_pending_waits_for_a_child";
    if part().is_some() {
        std::thread::sleep(Duration::from_millis(300)); // long after the drop
        let mut bytes = Vec::new();
        let mut consumer = Consumer::from_parent().unwrap();
        std::io::Read::read_to_end(&mut consumer, &mut bytes).unwrap();
        return assert_eq!(bytes, [7; 4096]);
    }
    let mut command = Exec::command(NAME, "child");
    let (mut producer, child) = ring(4096).spawn_consumer(&mut command).unwrap();
    let mut child = Exec::from(child);
    producer.try_write(&[7; 4096]).unwrap();
    let mut producer = AsyncProducer::new(producer);
    assert!(poll_once(producer.write(b"x"), &Arc::default()).is_pending());
    drop(producer);
    assert!(child.wait().success());
}
