//! Two processes, one of which sends back what it gets.

use futures::executor::block_on;
use futures::future::join;
use shmpipe::Ring;
use shmpipe::asynchronous::{AsyncConsumer, AsyncProducer};
use tokio_util::compat::{FuturesAsyncReadCompatExt, FuturesAsyncWriteCompatExt};

use crate::common::{End, Fork, alone, check, filter, stream, unique};
use crate::ring;

const LEN: usize = 1_000_003;

fn ends(to: &mut Option<Ring>, from: &mut Option<Ring>) -> (AsyncProducer, AsyncConsumer) {
    let producer = to.take().unwrap().into_producer().unwrap();
    let consumer = from.take().unwrap().into_consumer().unwrap();
    (AsyncProducer::new(producer), AsyncConsumer::new(consumer))
}

/// Forks `echo`, and has `ask` send and receive.
fn through(
    name: &str,
    echo: fn((AsyncProducer, AsyncConsumer)),
    ask: fn((AsyncProducer, AsyncConsumer), Vec<u8>) -> Vec<u8>,
) {
    alone(name, || {
        for capacity in [4096, 64 << 10] {
            let (mut there, mut back) = (Some(ring(capacity)), Some(ring(capacity)));
            let mut child = Fork::new(|| echo(ends(&mut back, &mut there)));
            let seed = unique();
            let bytes = ask(ends(&mut there, &mut back), stream(seed, 0, LEN));
            assert_eq!(bytes.len(), LEN);
            check(seed, 0, &bytes);
            assert_eq!(child.wait(), End::Exit(0));
        }
    });
}

// With the feature `tokio`, a handle has the traits of both worlds. A function uses one of them.

fn on_futures((mut producer, mut consumer): (AsyncProducer, AsyncConsumer)) {
    use futures::io::{AsyncWriteExt, copy};
    block_on(async {
        assert_eq!(
            copy(&mut consumer, &mut producer).await.unwrap(),
            LEN as u64
        );
        producer.close().await.unwrap();
    });
}

fn from_futures(
    (mut producer, mut consumer): (AsyncProducer, AsyncConsumer),
    bytes: Vec<u8>,
) -> Vec<u8> {
    use futures::io::{AsyncReadExt, AsyncWriteExt};
    block_on(async {
        let write = async {
            producer.write_all(&bytes).await.unwrap();
            producer.close().await.unwrap();
            producer.close().await.unwrap(); // once more changes nothing
        };
        let mut received = Vec::new();
        join(write, consumer.read_to_end(&mut received))
            .await
            .1
            .unwrap();
        received
    })
}

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_time().build().unwrap()
}

fn on_tokio((producer, consumer): (AsyncProducer, AsyncConsumer)) {
    use tokio::io::{AsyncWriteExt, copy};
    runtime().block_on(async {
        let task = tokio::spawn(async {
            let (mut producer, mut consumer) = (producer.compat_write(), consumer.compat());
            let len = copy(&mut consumer, &mut producer).await.unwrap();
            producer.shutdown().await.unwrap();
            len
        });
        assert_eq!(task.await.unwrap(), LEN as u64);
    });
}

fn from_tokio((producer, consumer): (AsyncProducer, AsyncConsumer), bytes: Vec<u8>) -> Vec<u8> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    runtime().block_on(async {
        let task = tokio::spawn(async move {
            let mut producer = producer.compat_write();
            producer.write_all(&bytes).await.unwrap();
            producer.shutdown().await.unwrap();
        });
        let mut received = Vec::new();
        let mut consumer = consumer.compat();
        consumer.read_to_end(&mut received).await.unwrap();
        task.await.unwrap();
        received
    })
}

#[test]
fn futures_to_futures() {
    through("echo::futures_to_futures", on_futures, from_futures);
}

#[test]
fn tokio_to_tokio() {
    through("echo::tokio_to_tokio", on_tokio, from_tokio);
}

#[test]
fn futures_to_tokio() {
    through("echo::futures_to_tokio", on_tokio, from_futures);
}

/// The peer need not be async.
#[test]
fn tokio_to_a_process_that_blocks() {
    fn on_threads((producer, consumer): (AsyncProducer, AsyncConsumer)) {
        let (mut producer, mut consumer) = (producer.into_inner(), consumer.into_inner());
        let len = std::io::copy(&mut consumer, &mut producer).unwrap();
        assert_eq!(len, LEN as u64);
        producer.close().unwrap();
    }
    through(
        "echo::tokio_to_a_process_that_blocks",
        on_threads,
        from_tokio,
    );
}

#[test]
fn a_kernel_without_waitv_will_do() {
    alone("echo::a_kernel_without_waitv_will_do", || {
        filter::lack(libc::SYS_futex_waitv);
        let (mut there, mut back) = (Some(ring(64 << 10)), Some(ring(64 << 10)));
        let mut child = Fork::new(|| on_futures(ends(&mut back, &mut there)));
        let seed = unique();
        let bytes = from_futures(ends(&mut there, &mut back), stream(seed, 0, LEN));
        check(seed, 0, &bytes);
        assert_eq!(child.wait(), End::Exit(0));
    });
}
