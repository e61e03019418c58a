//! An end, an abort and a death reach the far consumer as what they are.

use shmpipe::{Broken, Occupant};

use crate::relay::Relay;
use crate::rings::{How, Reader, Ring, Writer, bytes, next, read_ends};
use crate::server::Server;
use crate::until;

#[test]
fn each_way_to_end_arrives_as_what_it_is() {
    let (source, destination) = (Ring::new(), Ring::new());
    let server = Server::new();
    let _sender = Relay::send(&source.path(), "ends", &server.url(), &[]);
    let _receiver = Relay::recv(&destination.path(), "ends", &server.url(), &[]);
    let mut producer = source.producer();
    producer
        .write_all_deadline(&bytes(0, 10), deadline())
        .unwrap();
    producer.close().unwrap();
    source.producer().close().unwrap(); // an empty stream is one, too
    let mut producer = source.producer();
    producer
        .write_all_deadline(&bytes(10, 10), deadline())
        .unwrap();
    producer.abort();
    let mut producer = source.producer();
    producer
        .write_all_deadline(&bytes(20, 10), deadline())
        .unwrap();
    producer.abandon();
    source.producer().abort(); // does not resume: the stream before has died
    let ends = read_ends(&mut destination.consumer(), 0, 5);
    let expected = [
        (10, How::Finished),
        (10, How::Finished),
        (20, How::Aborted),
        (30, How::Died),
        (30, How::Aborted),
    ];
    assert_eq!(ends, expected);
}

fn deadline() -> std::time::Instant {
    std::time::Instant::now() + crate::PATIENCE
}

#[test]
fn a_death_is_told_before_anybody_follows_and_a_successor_resumes() {
    let (source, destination) = (Ring::new(), Ring::new());
    let server = Server::new();
    let _sender = Relay::send(&source.path(), "death", &server.url(), &[]);
    let _receiver = Relay::recv(&destination.path(), "death", &server.url(), &[]);
    let mut producer = source.producer();
    producer
        .write_all_deadline(&bytes(0, 100), deadline())
        .unwrap();
    let mut consumer = destination.consumer();
    let mut here = 0;
    until("the bytes", || {
        if let Some(len) = next(&mut consumer, here) {
            here += len.unwrap();
        }
        here == 100
    });
    producer.abandon();
    // The far consumer gets `Died`, which is no end.
    until("the death", || matches!(consumer.peer(), Occupant::Dead(_)));
    let error = consumer.wait_readable_deadline(1, deadline()).unwrap_err();
    assert!(
        matches!(error, shmpipe::PeekError::Broken(Broken::Died { .. })),
        "{error}"
    );
    assert!(!consumer.is_at_end());
    let mut options = source.options();
    let mut producer = options.resume(true).open_producer(source.path()).unwrap();
    assert_eq!(producer.stream_position(), 100);
    producer
        .write_all_deadline(&bytes(100, 50), deadline())
        .unwrap();
    producer.close().unwrap();
    assert_eq!(read_ends(&mut consumer, here, 1), [(150, How::Finished)]);
    assert_eq!(consumer.stream_number(), 1, "it was one stream");
}

#[test]
fn relays_stop_after_the_ends_that_were_asked_for() {
    let (source, destination) = (Ring::new(), Ring::new());
    let server = Server::new();
    let mut sender = Relay::send(&source.path(), "three", &server.url(), &["--ends", "3"]);
    let mut receiver = Relay::recv(
        &destination.path(),
        "three",
        &server.url(),
        &["--ends", "3"],
    );
    let writer = Writer::start(&source, 0, 7, 1 << 12);
    let reader = Reader::start(&destination, 0, &writer.ends);
    assert!(sender.wait().success(), "{}", sender.said());
    assert!(receiver.wait().success(), "{}", receiver.said());
    // The next ones continue.
    let _sender = Relay::send(&source.path(), "three", &server.url(), &[]);
    let _receiver = Relay::recv(&destination.path(), "three", &server.url(), &[]);
    let last = writer.stop();
    reader.finish(last);
}

#[test]
fn a_signal_stops_a_relay_without_an_end() {
    let (source, destination) = (Ring::new(), Ring::new());
    let server = Server::new();
    let mut sender = Relay::send(&source.path(), "signal", &server.url(), &[]);
    let mut receiver = Relay::recv(&destination.path(), "signal", &server.url(), &[]);
    let writer = Writer::start(&source, 0, 3, 1 << 16);
    let reader = Reader::start(&destination, 0, &writer.ends);
    for _ in 0..3 {
        let before = reader.position();
        until("bytes", || reader.position() > before + 10_000);
        for relay in [&mut sender, &mut receiver] {
            relay.signal(libc::SIGTERM);
            assert_eq!(
                relay.wait().code(),
                Some(128 + libc::SIGTERM),
                "{}",
                relay.said()
            );
            relay.restart();
        }
    }
    let last = writer.stop();
    reader.finish(last);
}
