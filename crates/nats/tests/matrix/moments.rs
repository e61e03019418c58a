//! Faults that a kill met by chance: here their moment is held open.

use std::fs::File;
use std::time::{Duration, Instant};

use async_nats::HeaderMap;
use async_nats::jetstream::{self, Context};

use crate::proxy::Proxy;
use crate::relay::Relay;
use crate::rings::{How, Ring, bytes, next, read_ends};
use crate::server::Server;
use crate::{PATIENCE, until};

/// Publishes a record as a relay does, in this session: 0 for a claim. Returns its sequence.
async fn publish(
    context: &Context,
    name: &str,
    nonce: u64,
    session: u64,
    at: u64,
    len: usize,
) -> u64 {
    let (kind, subject) = match session {
        0 => ("begin", format!("shmpipe.{name}.claim")),
        _ => ("data", format!("shmpipe.{name}")),
    };
    let mut headers = HeaderMap::new();
    headers.insert("Shmpipe", "1");
    headers.insert("Kind", kind);
    headers.insert("Nonce", format!("{nonce:016x}"));
    headers.insert("Session", session.to_string());
    headers.insert("Pos", at.to_string());
    headers.insert("Stream", "0");
    let published = context.publish_with_headers(subject, headers, bytes(at, len).into());
    published.await.unwrap().await.unwrap().sequence
}

/// The last window of a sender that was killed lands, and is trimmed, between two requests
/// of the next sender. That one finds nothing, which is no loss.
#[test]
fn a_log_that_changes_while_its_end_is_looked_for_has_lost_nothing() {
    let source = Ring::new();
    let server = Server::new();
    let proxy = Proxy::new(server.port);
    let mut sender = Relay::send(&source.path(), "late", &proxy.url(), &[]);
    let mut producer = source.producer();
    let mut write = |at, len| {
        let until = Instant::now() + PATIENCE;
        producer.write_all_deadline(&bytes(at, len), until).unwrap();
    };
    let released = || {
        let ring = source.options().snapshot(source.path()).unwrap();
        ring.written - ring.fill as u64
    };
    write(0, 1000);
    until("the bytes are in the log", || released() == 1000);
    sender.kill();
    write(1000, 500);
    proxy.hold_at("STREAM.MSG.GET", 1);
    sender.restart();
    until("the sender looks for the end", || proxy.holds());
    server.client(async |client| {
        let context = jetstream::new(client);
        let stream = context.get_stream("late").await.unwrap();
        let nonce = source.consumer_nonce();
        let late = publish(&context, "late", nonce, 1, 1000, 500).await;
        stream.purge().sequence(late).await.unwrap();
    });
    proxy.let_go();
    until("the sender finds the late record", || {
        sender.assert_runs();
        released() == 1500
    });
}

/// A consumer of the broker passes over a message that is there, once.
#[test]
fn a_gap_that_the_next_pass_does_not_find_is_none() {
    let (source, destination) = (Ring::new(), Ring::new());
    let server = Server::new();
    let proxy = Proxy::new(server.port);
    let nonce = source.consumer_nonce();
    // A sender makes the stream, and leaves it without a record.
    let mut sender = Relay::send(&source.path(), "gap-once", &server.url(), &["--ends", "1"]);
    source.producer().close().unwrap();
    assert!(sender.wait().success(), "{}", sender.said());
    let log = async |client, places: &[u64]| {
        let context = jetstream::new(client);
        let stream = context.get_stream("gap-once").await.unwrap();
        stream.purge().await.unwrap();
        let session = publish(&context, "gap-once", nonce, 0, 0, 0).await;
        for &at in places {
            publish(&context, "gap-once", nonce, session, at, 10).await;
        }
    };
    server.client(async |client| log(client, &[0, 20]).await);
    proxy.hold_at("STREAM.INFO", 2); // the second pass begins with this request
    let mut receiver = Relay::recv(&destination.path(), "gap-once", &proxy.url(), &[]);
    until("the second pass begins", || {
        receiver.assert_runs();
        proxy.holds()
    });
    assert!(
        receiver.said().contains("lost bytes 10 to 20"),
        "{}",
        receiver.said()
    );
    server.client(async |client| log(client, &[0, 10, 20]).await);
    proxy.let_go();
    let (mut consumer, mut here) = (destination.consumer(), 0);
    until("all bytes", || {
        receiver.assert_runs();
        here += next(&mut consumer, here).map_or(0, Result::unwrap);
        here == 30
    });
}

/// Whoever opens a ring locks its file for a moment.
#[test]
fn a_lock_that_another_opener_holds_is_waited_for() {
    let (source, destination) = (Ring::new(), Ring::new());
    let server = Server::new();
    let locked = [&source, &destination].map(|ring| {
        let file = File::open(ring.path()).unwrap();
        file.lock().unwrap();
        file
    });
    let mut sender = Relay::send(&source.path(), "locked", &server.url(), &[]);
    let mut receiver = Relay::recv(&destination.path(), "locked", &server.url(), &[]);
    std::thread::sleep(Duration::from_secs(1));
    sender.assert_runs();
    receiver.assert_runs();
    drop(locked);
    source.producer().close().unwrap();
    let ends = read_ends(&mut destination.consumer(), 0, 1);
    assert_eq!(ends, [(0, How::Finished)]);
}

/// A record waits for room in the ring for longer than the broker may be silent.
#[test]
fn a_full_ring_is_not_taken_for_a_silent_broker() {
    let (source, destination) = (Ring::new(), Ring::of(64 << 10));
    let server = Server::new();
    let _sender = Relay::send(&source.path(), "slow", &server.url(), &[]);
    let mut receiver = Relay::recv(&destination.path(), "slow", &server.url(), &[]);
    let mut producer = source.producer();
    let all = bytes(0, 200_000);
    producer
        .write_all_deadline(&all, Instant::now() + PATIENCE)
        .unwrap();
    producer.close().unwrap();
    let fill = || {
        destination
            .options()
            .snapshot(destination.path())
            .unwrap()
            .fill
    };
    until("the ring is full", || fill() == 64 << 10);
    std::thread::sleep(Duration::from_secs(9)); // a receiver allows 8 s of silence
    let ends = read_ends(&mut destination.consumer(), 0, 1);
    assert_eq!(ends, [(200_000, How::Finished)]);
    receiver.assert_runs();
    let said = receiver.said();
    assert!(!said.contains("says nothing"), "{said}");
}
