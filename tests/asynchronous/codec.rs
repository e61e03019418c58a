//! tokio's own traits on the handles: frames, dropped tasks, a peer that is killed.
#![cfg(feature = "tokio")]

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use shmpipe::asynchronous::{AsyncConsumer, AsyncProducer};
use shmpipe::{Broken, Role};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::codec::{FramedRead, FramedWrite, LengthDelimitedCodec};

use crate::common::{End, Fork, alone, broken, check, kill_self, stream, unique};
use crate::{pair, ring};

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_time().build().unwrap()
}

#[test]
fn a_stream_arrives_by_the_traits_of_tokio() {
    const LEN: usize = 1_000_003;
    alone("codec::a_stream_arrives_by_the_traits_of_tokio", || {
        let (mut there, mut back) = (Some(ring(4096)), Some(ring(4096)));
        let seed = unique();
        let mut child = Fork::new(|| {
            let consumer = there.take().unwrap().into_consumer().unwrap();
            let producer = back.take().unwrap().into_producer().unwrap();
            runtime().block_on(async {
                let mut consumer = AsyncConsumer::from(consumer);
                let mut producer = AsyncProducer::from(producer);
                let copied = tokio::io::copy(&mut consumer, &mut producer).await;
                assert_eq!(copied.unwrap(), LEN as u64);
                producer.shutdown().await.unwrap();
                producer.shutdown().await.unwrap(); // once more changes nothing
            });
        });
        let producer = there.take().unwrap().into_producer().unwrap();
        let consumer = back.take().unwrap().into_consumer().unwrap();
        let bytes = runtime().block_on(async {
            let mut producer = AsyncProducer::from(producer);
            let mut consumer = AsyncConsumer::from(consumer);
            let sending = tokio::spawn(async move {
                producer.write_all(&stream(seed, 0, LEN)).await.unwrap();
                producer.shutdown().await.unwrap();
            });
            let mut bytes = Vec::new();
            consumer.read_to_end(&mut bytes).await.unwrap();
            sending.await.unwrap();
            bytes
        });
        assert_eq!(bytes.len(), LEN);
        check(seed, 0, &bytes);
        assert_eq!(child.wait(), End::Exit(0));
    });
}

#[test]
fn frames_arrive_whole_and_the_end_is_an_end() {
    runtime().block_on(async {
        let (producer, consumer) = pair(4096);
        let sending = tokio::spawn(async move {
            let mut frames = FramedWrite::new(producer, LengthDelimitedCodec::new());
            for number in 0..100 {
                let frame = stream(number, 0, number as usize * 100); // beyond the capacity, too
                frames.send(Bytes::from(frame)).await.unwrap();
            }
            frames.get_mut().shutdown().await.unwrap();
        });
        let mut frames = FramedRead::new(consumer, LengthDelimitedCodec::new());
        for number in 0..100 {
            let frame = frames.next().await.unwrap().unwrap();
            assert!(frame == stream(number, 0, number as usize * 100));
        }
        assert!(frames.next().await.is_none());
        sending.await.unwrap();
    });
}

/// A task that is dropped in mid-work finishes its stream, unless it was told to break off.
#[test]
fn a_task_that_is_dropped_in_mid_work_breaks_off_if_told_to() {
    runtime().block_on(async {
        for aborts in [false, true] {
            let (mut producer, mut consumer) = pair(4096);
            producer.set_abort_on_drop(aborts);
            let writing = tokio::spawn(async move {
                producer.write_all(&vec![7; 1 << 20]).await.unwrap();
            });
            consumer.read_exact(&mut [0; 5000]).await.unwrap();
            writing.abort();
            assert!(writing.await.unwrap_err().is_cancelled());
            let mut rest = Vec::new();
            let read = consumer.read_to_end(&mut rest).await;
            assert!(rest.len() < 1 << 20);
            match aborts {
                true => assert_eq!(broken(&read.unwrap_err()), Broken::ProducerAborted),
                false => assert_eq!(read.unwrap(), rest.len()),
            }
        }
        // The same for a consumer: its producer learns that it has left.
        let (mut producer, mut consumer) = pair(4096);
        let reading = tokio::spawn(async move { consumer.read_u8().await });
        tokio::task::yield_now().await;
        reading.abort();
        assert!(reading.await.unwrap_err().is_cancelled());
        let written = producer.write_all(&vec![7; 1 << 20]).await;
        assert_eq!(broken(&written.unwrap_err()), Broken::ConsumerClosed);
    });
}

#[test]
fn a_peer_that_is_killed_within_a_frame_is_an_error() {
    let test = "codec::a_peer_that_is_killed_within_a_frame_is_an_error";
    alone(test, || {
        let mut ring = Some(ring(4096));
        let mut child = Fork::new(|| {
            let producer = ring.take().unwrap().into_producer().unwrap();
            runtime().block_on(async {
                let mut producer = AsyncProducer::from(producer);
                producer.write_all(b"\0\0\0\x05whole").await.unwrap();
                producer.write_all(b"\0\0\0\x05cu").await.unwrap();
                kill_self();
            });
        });
        let consumer = ring.take().unwrap().into_consumer().unwrap();
        runtime().block_on(async {
            let consumer = AsyncConsumer::from(consumer);
            let mut frames = FramedRead::new(consumer, LengthDelimitedCodec::new());
            let frame = frames.next().await.unwrap().unwrap();
            assert_eq!(&frame[..], b"whole");
            let error = frames.next().await.unwrap().unwrap_err();
            let died = Broken::Died {
                role: Role::Producer,
                pid: child.pid(),
            };
            assert_eq!(broken(&error), died);
        });
        assert!(matches!(child.wait(), End::Signal(_)));
    });
}

/// A handle with either set of traits does the same.
#[test]
fn vectored_writes_are_one_publication() {
    runtime().block_on(async {
        let (mut producer, mut consumer) = pair(4096);
        assert!(tokio::io::AsyncWrite::is_write_vectored(&producer));
        let parts = [&b"one "[..], b"two"].map(std::io::IoSlice::new);
        assert_eq!(producer.write_vectored(&parts).await.unwrap(), 7);
        producer.flush().await.unwrap();
        let mut bytes = [0; 7];
        consumer.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"one two");
        assert_eq!(consumer.get_mut().available(), Ok(0));
    });
}
