//! The broker's own tools at the stream: they look, and they delete.

use std::time::{Duration, Instant};

use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::stream::Stream;
use futures_util::StreamExt;
use shmpipe::Producer;

use crate::relay::Relay;
use crate::rings::{How, Reader, Ring, Writer, bytes, next};
use crate::server::Server;
use crate::{PATIENCE, until};

/// Calls `act` with the stream of this name.
fn with_stream<T>(server: &Server, name: &str, act: impl AsyncFnOnce(Stream) -> T) -> T {
    server.client(async |client| {
        let context = async_nats::jetstream::new(client);
        act(context.get_stream(name).await.unwrap()).await
    })
}

/// `nats stream info`, `get` and `view`, `nats consumer add`, `next` and `rm`, and `nats sub`.
#[test]
fn tools_that_look_at_a_stream_change_nothing() {
    let (source, destination) = (Ring::new(), Ring::new());
    let server = Server::new();
    let mut sender = Relay::send(&source.path(), "seen", &server.url(), &[]);
    let mut receiver = Relay::recv(&destination.path(), "seen", &server.url(), &[]);
    let writer = Writer::start(&source, 0, 41, 1 << 16);
    let reader = Reader::start(&destination, 0, &writer.ends);
    until("bytes", || reader.position() > 100_000 || reader.fails());
    server.client(async |client| {
        let mut seen = client.subscribe("shmpipe.>").await.unwrap();
        let context = async_nats::jetstream::new(client);
        let mut stream = context.get_stream("seen").await.unwrap();
        let config = pull::Config {
            durable_name: Some("stranger".to_owned()),
            ack_policy: AckPolicy::Explicit,
            ..pull::Config::default()
        };
        for round in 0..20 {
            // The consumer stays where it is each second time, and half of what it gets has no answer.
            let consumer = stream.create_consumer(config.clone()).await.unwrap();
            let wait = Duration::from_secs(5);
            let batch = consumer.batch().max_messages(10).expires(wait).messages();
            let mut batch = batch.await.unwrap();
            let mut got = 0;
            while let Some(message) = batch.next().await {
                got += 1;
                if got % 2 == 0 {
                    message.unwrap().ack().await.unwrap();
                }
            }
            assert!(got > 0, "round {round}");
            if round % 2 == 0 {
                stream.delete_consumer("stranger").await.unwrap();
            }
            let last = stream.info().await.unwrap().state.last_sequence;
            let _ = stream.get_raw_message(last).await; // or the receiver has trimmed it
        }
        assert!(seen.next().await.is_some());
    });
    let last = writer.stop();
    sender.assert_runs();
    receiver.assert_runs();
    reader.finish(last);
}

/// Three records of 1000 bytes in the log. The receiver has the first one, and is away.
struct Scene {
    sender: Relay,
    receiver: Relay,
    server: Server,
    producer: Producer,
    destination: Ring,
    source: Ring,
}

impl Scene {
    fn new(name: &str) -> Scene {
        let (source, destination) = (Ring::new(), Ring::new());
        let server = Server::new();
        let mut scene = Scene {
            sender: Relay::send(&source.path(), name, &server.url(), &[]),
            receiver: Relay::recv(&destination.path(), name, &server.url(), &[]),
            server,
            producer: source.producer(),
            destination,
            source,
        };
        scene.write(0);
        let (mut consumer, mut here) = (scene.destination.consumer(), 0);
        until("the first record arrives", || {
            here += next(&mut consumer, here).map_or(0, Result::unwrap);
            here == 1000
        });
        scene.receiver.kill();
        scene.write(1000);
        scene.write(2000);
        scene.sender.assert_runs();
        scene
    }

    /// Writes 1000 bytes, and waits until the log has them.
    fn write(&mut self, at: u64) {
        let deadline = Instant::now() + PATIENCE;
        let written = self.producer.write_all_deadline(&bytes(at, 1000), deadline);
        written.unwrap();
        until("the bytes are in the log", || {
            self.sender.assert_runs();
            self.producer.consumed().unwrap() == at + 1000
        });
    }

    /// A receiver that accepts the loss delivers the bytes from `from` to `to`. Only at `died` may the
    /// stream break off.
    fn what_is_left_arrives(&self, name: &str, from: u64, died: u64, to: u64) {
        let (path, url) = (self.destination.path(), self.server.url());
        let mut receiver = Relay::recv(&path, name, &url, &["--accept-loss"]);
        let (mut consumer, mut here) = (self.destination.consumer(), from);
        until("what the log still has", || {
            receiver.assert_runs();
            match next(&mut consumer, here) {
                Some(Ok(len)) => here += len,
                Some(Err(how)) => assert_eq!((here, how), (died, How::Died)),
                None => {}
            }
            here == to
        });
    }
}

/// Deletes the record of this kind at this position.
async fn delete_record(mut stream: Stream, kind: &str, at: u64) {
    let last = stream.info().await.unwrap().state.last_sequence;
    for sequence in 1..=last {
        let Ok(message) = stream.get_raw_message(sequence).await else {
            continue; // trimmed
        };
        let is = |name, wanted: &str| {
            let value = message.headers.get(name);
            value.is_some_and(|value| value.as_str() == wanted)
        };
        if is("Kind", kind) && is("Pos", &at.to_string()) {
            assert!(stream.delete_message(sequence).await.unwrap());
            return;
        }
    }
    panic!("no {kind} at {at}");
}

#[test]
fn a_record_that_a_tool_deletes_is_named_by_the_receiver() {
    let mut scene = Scene::new("deleted");
    with_stream(&scene.server, "deleted", async |stream| {
        delete_record(stream, "data", 1000).await;
    });
    scene.receiver.restart();
    scene.receiver.fails(4, "lost bytes 1000 to 2000");
    // The sender goes on, also after a new start: the log has its last record.
    scene.sender.kill();
    scene.sender.restart();
    scene.write(3000);
    scene.what_is_left_arrives("deleted", 2000, 2000, 4000);
}

#[test]
fn a_last_record_that_a_tool_deletes_is_named_by_the_next_sender() {
    let mut scene = Scene::new("last");
    with_stream(&scene.server, "last", async |stream| {
        delete_record(stream, "data", 2000).await;
    });
    scene.sender.kill();
    scene.sender.restart();
    scene.sender.fails(4, "lost bytes 2000 to 3000");
}

#[test]
fn a_claim_that_a_tool_deletes_is_named_by_both_relays() {
    let mut scene = Scene::new("unclaimed");
    scene.sender.kill();
    scene.sender.restart();
    scene.write(3000);
    with_stream(&scene.server, "unclaimed", async |stream| {
        delete_record(stream, "claim", 3000).await;
    });
    scene.receiver.restart();
    scene.receiver.fails(4, "lost the claim of session");
    scene.sender.kill();
    scene.sender.restart();
    scene.sender.fails(4, "lost the claim of session");
    // Both can be told to go on.
    let (path, url) = (scene.source.path(), scene.server.url());
    scene.sender = Relay::send(&path, "unclaimed", &url, &["--begin"]);
    scene.write(4000);
    scene.what_is_left_arrives("unclaimed", 1000, 3000, 5000);
}

#[test]
fn a_log_that_a_tool_purges_is_lost_bytes_and_no_silent_gap() {
    let mut scene = Scene::new("purged");
    with_stream(&scene.server, "purged", async |stream| {
        stream.purge().await.unwrap();
    });
    scene.write(3000);
    scene.receiver.restart();
    scene.receiver.fails(4, "lost bytes 1000 to 3000");
    // The next sender finds the record behind the purge, and goes on.
    scene.sender.kill();
    scene.sender.restart();
    scene.write(4000);
}

/// `nats pub`, with more bytes than a receiver asks for at once.
#[test]
fn a_long_message_of_a_tool_is_passed_over() {
    let (source, destination) = (Ring::new(), Ring::new());
    let server = Server::with("max_payload: 67108864");
    let mut sender = Relay::send(&source.path(), "long", &server.url(), &[]);
    let mut producer = source.producer();
    let mut write = |at| {
        let deadline = Instant::now() + PATIENCE;
        producer
            .write_all_deadline(&bytes(at, 1000), deadline)
            .unwrap();
        until("the bytes are in the log", || {
            producer.consumed().unwrap() == at + 1000
        });
    };
    write(0);
    server.client(async |client| {
        let context = async_nats::jetstream::new(client);
        let published = context.publish("shmpipe.long", vec![7; 20 << 20].into());
        published.await.unwrap().await.unwrap();
    });
    write(1000);
    let mut receiver = Relay::recv(&destination.path(), "long", &server.url(), &[]);
    let (mut consumer, mut here) = (destination.consumer(), 0);
    until("all bytes", || {
        receiver.assert_runs();
        here += next(&mut consumer, here).map_or(0, Result::unwrap);
        here == 2000
    });
    sender.assert_runs();
    let said = receiver.said();
    assert!(
        said.contains("is no record of a relay: it is passed over"),
        "{said}"
    );
}
