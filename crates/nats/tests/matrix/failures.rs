//! Failures that pass, and losses that a relay reports.

use std::time::{Duration, Instant};

use async_nats::HeaderMap;

use crate::proxy::{Network, Proxy};
use crate::relay::Relay;
use crate::rings::{CAPACITY, How, Reader, Ring, Writer, bytes, next, read_ends};
use crate::server::Server;
use crate::{PATIENCE, until};

/// A stream that passes while `disturb` is called.
fn passes(
    name: &str,
    server: &Server,
    url: &str,
    more: &[&str],
    mut disturb: impl FnMut(&dyn Fn()),
) {
    let (source, destination) = (Ring::new(), Ring::new());
    let mut sender = Relay::send(&source.path(), name, url, more);
    let mut receiver = Relay::recv(&destination.path(), name, url, &[]);
    let writer = Writer::start(&source, 0, 11, 1 << 18);
    let reader = Reader::start(&destination, 0, &writer.ends);
    disturb(&|| {
        let before = reader.position();
        until("bytes pass", || {
            reader.position() > before + 200_000 || reader.fails()
        });
    });
    let last = writer.stop();
    sender.assert_runs();
    receiver.assert_runs();
    reader.finish(last);
    let _ = server;
}

#[test]
fn a_broker_that_stops_and_goes_on_loses_nothing() {
    let server = Server::new();
    passes("stops", &server, &server.url(), &[], |bytes_pass| {
        bytes_pass();
        server.signal(libc::SIGSTOP);
        std::thread::sleep(Duration::from_secs(7)); // a relay waits 5 s for an answer
        server.signal(libc::SIGCONT);
        bytes_pass();
    });
}

#[test]
fn a_network_that_is_cut_or_silent_loses_nothing() {
    let server = Server::new();
    let proxy = Proxy::new(server.port);
    passes("cut", &server, &proxy.url(), &[], |bytes_pass| {
        for (network, time) in [
            (Network::Cut, 300),
            (Network::Silent, 300),
            (Network::Silent, 7000),
            (Network::Cut, 0),
        ] {
            bytes_pass();
            proxy.set(network);
            std::thread::sleep(Duration::from_millis(time));
            if network == Network::Silent && time > 1000 {
                proxy.set(Network::Cut); // what was in flight is lost
                std::thread::sleep(Duration::from_millis(50));
            }
            proxy.set(Network::Passes);
        }
        bytes_pass();
    });
}

#[test]
fn the_newer_of_two_senders_takes_over_and_the_older_one_says_so() {
    let (first, second, destination) = (Ring::new(), Ring::new(), Ring::new());
    let server = Server::new();
    let mut receiver = Relay::recv(&destination.path(), "two", &server.url(), &[]);
    let mut older = Relay::send(&first.path(), "two", &server.url(), &[]);
    let mut producer = first.producer();
    producer
        .write_all_deadline(&bytes(0, 1000), Instant::now() + PATIENCE)
        .unwrap();
    until("the bytes are in the log", || {
        producer.consumed().unwrap() == 1000
    });
    let mut newer = Relay::send(&second.path(), "two", &server.url(), &[]);
    let mut other = second.producer();
    other
        .write_all_deadline(&bytes(1000, 500), Instant::now() + PATIENCE)
        .unwrap();
    until("the newer sender's bytes are in the log", || {
        other.consumed().unwrap() == 500
    });
    other.close().unwrap();
    producer
        .write_all_deadline(&bytes(0, 10), Instant::now() + PATIENCE)
        .unwrap();
    older.fails(3, "another sender has taken the stream over");
    assert_eq!(
        producer.consumed().unwrap(),
        1000,
        "what was not sent stays"
    );
    // The stream of the older one is broken off, as by a death: its ring is out of reach.
    let ends = read_ends(&mut destination.consumer(), 0, 2);
    assert_eq!(ends, [(1000, How::Died), (1500, How::Finished)]);
    newer.assert_runs();
    receiver.assert_runs();
}

#[test]
fn a_wiped_store_is_lost_bytes_and_begins_again_only_if_told() {
    let (source, destination) = (Ring::new(), Ring::new());
    let mut server = Server::new();
    let url = server.url();
    let mut sender = Relay::send(&source.path(), "wiped", &url, &[]);
    let mut producer = source.producer();
    let mut write = |from, len| {
        producer
            .write_all_deadline(&bytes(from, len), Instant::now() + PATIENCE)
            .unwrap();
    };
    write(0, 5000);
    // No receiver: the broker alone has them.
    let peek = || source.options().snapshot(source.path()).unwrap().fill;
    until("the bytes are in the log", || peek() == 0);
    server.kill();
    server.wipe();
    server.start();
    write(5000, 10);
    sender.fails(4, "lost bytes 0 to 5000");
    // Told to begin, the sender leaves it to the receiver to say what is missing.
    let mut sender = Relay::send(&source.path(), "wiped", &url, &["--begin"]);
    until("the rest is in the log", || peek() == 0);
    let mut receiver = Relay::recv(&destination.path(), "wiped", &url, &[]);
    let mut consumer = destination.consumer();
    until("the rest arrives", || {
        matches!(next(&mut consumer, 5000), Some(Ok(10)))
    });
    sender.assert_runs();
    receiver.assert_runs();
}

#[test]
fn a_receiver_that_misses_bytes_names_them_and_goes_on_only_if_told() {
    let (source, destination) = (Ring::new(), Ring::new());
    let mut server = Server::new();
    let url = server.url();
    let mut sender = Relay::send(&source.path(), "gap", &url, &[]);
    let mut receiver = Relay::recv(&destination.path(), "gap", &url, &[]);
    let mut producer = source.producer();
    let mut write = |from, len| {
        producer
            .write_all_deadline(&bytes(from, len), Instant::now() + PATIENCE)
            .unwrap();
    };
    write(0, 1000);
    let mut consumer = destination.consumer();
    let mut here = 0;
    until("the bytes arrive", || {
        here += next(&mut consumer, here).map_or(0, Result::unwrap);
        here == 1000
    });
    receiver.kill();
    write(1000, 1000);
    let peek = || source.options().snapshot(source.path()).unwrap().fill;
    until("the bytes are in the log", || peek() == 0);
    sender.kill();
    server.kill();
    server.wipe();
    server.start();
    write(2000, 1000);
    let _sender = Relay::send(&source.path(), "gap", &url, &["--begin"]);
    until("the rest is in the log", || peek() == 0);
    receiver.restart();
    receiver.fails(4, "lost bytes 1000 to 2000");
    let _receiver = Relay::recv(&destination.path(), "gap", &url, &["--accept-loss"]);
    assert_eq!(
        read_ends(&mut consumer, 1000, 1),
        [(1000, How::Died)],
        "a stream with a hole is broken off"
    );
    let mut here = 2000;
    until("the rest arrives", || {
        here += next(&mut consumer, here).map_or(0, Result::unwrap);
        here == 3000
    });
}

#[test]
fn a_source_host_that_restarts_begins_another_ring() {
    let (source, destination) = (Ring::new(), Ring::new());
    let server = Server::new();
    let mut receiver = Relay::recv(&destination.path(), "reboot", &server.url(), &[]);
    for boot in 0..3 {
        let mut producer = source.producer();
        let mut sender = Relay::send(&source.path(), "reboot", &server.url(), &[]);
        let bytes = bytes(boot * 700, 700);
        producer
            .write_all_deadline(&bytes, Instant::now() + PATIENCE)
            .unwrap();
        until("the bytes are in the log", || {
            producer.consumed().unwrap() == 700
        });
        if boot == 2 {
            producer.close().unwrap();
            let ends = read_ends(&mut destination.consumer(), 0, 3);
            let expected = [(700, How::Died), (1400, How::Died), (2100, How::Finished)];
            assert_eq!(ends, expected);
        }
        sender.kill();
        source.lose();
    }
    receiver.assert_runs();
}

#[test]
fn a_new_ring_at_the_destination_is_not_taken_for_the_old_one() {
    let (source, destination) = (Ring::new(), Ring::new());
    let server = Server::new();
    let _sender = Relay::send(&source.path(), "new", &server.url(), &[]);
    let mut receiver = Relay::recv(&destination.path(), "new", &server.url(), &[]);
    source
        .producer()
        .write_all_deadline(&bytes(0, 100), Instant::now() + PATIENCE)
        .unwrap();
    let ends = read_ends(&mut destination.consumer(), 0, 1);
    assert_eq!(ends, [(100, How::Finished)]);
    receiver.kill();
    destination.lose();
    drop(
        destination
            .options()
            .open_consumer(destination.path())
            .unwrap(),
    ); // a new one
    receiver.restart();
    receiver.fails(4, "the ring is new");
    let mut receiver = Relay::recv(
        &destination.path(),
        "new",
        &server.url(),
        &["--accept-loss"],
    );
    source
        .producer()
        .write_all_deadline(&bytes(100, 100), Instant::now() + PATIENCE)
        .unwrap();
    // What the log still had may come again: here, all or nothing of the first stream.
    let mut consumer = destination.consumer();
    let again = receives(&mut consumer, 100);
    assert!(
        again == [100] || again == [0, 100] || again == [100, 200],
        "{again:?}"
    );
    receiver.assert_runs();
}

/// Ends of streams, up to one behind bytes of the second stream.
fn receives(consumer: &mut shmpipe::Consumer, second: u64) -> Vec<u64> {
    let mut bytes_got = Vec::new();
    let mut ends = Vec::new();
    until("the second stream", || {
        let soon = Instant::now() + Duration::from_millis(20);
        match consumer.wait_readable_deadline(1, soon) {
            Ok(()) => {
                let grant = consumer.try_peek_up_to(1000).unwrap();
                bytes_got.extend(grant.to_vec());
                grant.consume_all();
            }
            Err(shmpipe::PeekError::Ended { .. }) => {
                ends.push(bytes_got.len() as u64);
                consumer.next_stream().unwrap();
            }
            Err(_) => {}
        }
        bytes_got.ends_with(&bytes(second, 100))
            && !ends.is_empty()
            && ends.last() == Some(&(bytes_got.len() as u64))
    });
    ends
}

/// The receiver is away for long: the log fills, then the source ring, and the producer waits.
#[test]
fn a_full_stream_holds_the_producer_and_goes_on_when_a_receiver_comes() {
    let (source, destination) = (Ring::new(), Ring::new());
    let server = Server::new();
    let url = server.url();
    let limit = 1_000_000;
    let mut sender = Relay::send(
        &source.path(),
        "full",
        &url,
        &["--max-bytes", &limit.to_string()],
    );
    let writer = Writer::start(&source, 0, 5, 1 << 20);
    until("the sender says that the stream is full", || {
        sender.said().contains("the stream is full")
    });
    let fill = || source.options().snapshot(source.path()).unwrap();
    until("the ring is full", || fill().fill > CAPACITY - (64 << 10));
    let written = fill().written;
    std::thread::sleep(Duration::from_millis(500));
    assert!(fill().written < written + (64 << 10), "the producer waits");
    assert!(written < limit + 2 * CAPACITY as u64, "{written}");
    // The sender may die meanwhile.
    sender.kill();
    sender.restart();
    let _receiver = Relay::recv(&destination.path(), "full", &url, &[]);
    let reader = Reader::start(&destination, 0, &writer.ends);
    until("bytes", || reader.position() > 3 * limit);
    let last = writer.stop();
    reader.finish(last);
}

/// Messages of others, and forged records, in a log that is read.
#[test]
fn a_forged_record_is_void_or_an_error_and_never_a_byte() {
    let (source, destination) = (Ring::new(), Ring::new());
    let server = Server::new();
    let mut sender = Relay::send(&source.path(), "forged", &server.url(), &[]);
    let mut receiver = Relay::recv(&destination.path(), "forged", &server.url(), &[]);
    let writer = Writer::start(&source, 0, 17, 1 << 16);
    let reader = Reader::start(&destination, 0, &writer.ends);
    let forge = |headers: &[(&'static str, String)], payload: &'static str| {
        server.client(async |client| {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.insert(*name, value.as_str());
            }
            client
                .publish_with_headers("shmpipe.forged", map, payload.into())
                .await
                .unwrap();
            client.flush().await.unwrap();
        });
    };
    let record = |nonce: u64, session: u64, position: u64, version: u64| {
        [
            ("Shmpipe", version.to_string()),
            ("Kind", "data".to_owned()),
            ("Nonce", format!("{nonce:016x}")),
            ("Session", session.to_string()),
            ("Pos", position.to_string()),
            ("Stream", "0".to_owned()),
        ]
    };
    until("bytes", || reader.position() > 100_000);
    forge(&[], "no record at all");
    let nonce = source.consumer_nonce();
    forge(&record(nonce, 1 << 40, 0, 1), "of no session");
    forge(&record(nonce ^ 1, 1 << 40, 5, 1), "of no ring");
    let before = reader.position();
    until("bytes pass on", || reader.position() > before + 100_000);
    let last = writer.stop();
    reader.finish(last);
    // A record of another version stops the receiver, and nothing behind it is applied.
    forge(&record(nonce, 1, 0, 2), "newer");
    receiver.fails(
        1,
        "it is a record of version 2, and this relay knows version 1",
    );
    sender.assert_runs();
}

#[test]
fn a_sender_that_finds_a_record_of_another_version_says_so() {
    let source = Ring::new();
    let server = Server::new();
    let mut sender = Relay::send(&source.path(), "newer", &server.url(), &[]);
    source
        .producer()
        .write_all_deadline(b"abc", Instant::now() + PATIENCE)
        .unwrap();
    until("the bytes are in the log", || {
        source.options().snapshot(source.path()).unwrap().fill == 0
    });
    sender.kill();
    server.client(async |client| {
        let mut headers = HeaderMap::new();
        headers.insert("Shmpipe", "2");
        client
            .publish_with_headers("shmpipe.newer", headers, "x".into())
            .await
            .unwrap();
        client.flush().await.unwrap();
    });
    sender.restart();
    sender.fails(1, "it is a record of version 2");
}

/// The memory of both relays while they are pushed: what is their own, without the rings. The broker
/// takes messages of any length, which is no reason to ask for as much at once.
#[test]
fn a_relay_has_32_mib_at_most() {
    let (source, destination) = (Ring::of(16 << 20), Ring::of(16 << 20));
    let server = Server::with("max_payload: 67108864");
    let proxy = Proxy::new(server.port);
    let sender = Relay::send(
        &source.path(),
        "memory",
        &proxy.url(),
        &["--max-bytes", "80000000", "--chunk", "67108864"],
    );
    let writer = Writer::start(&source, 0, 23, 8 << 20);
    let own = |pid: u32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("RssAnon:"))
            .unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    };
    // A log that is full, so that the receiver has much to take at once.
    until("the stream is full", || {
        sender.said().contains("the stream is full")
    });
    let receiver = Relay::recv(&destination.path(), "memory", &proxy.url(), &[]);
    std::thread::sleep(Duration::from_secs(1)); // nobody reads: the ring fills
    let reader = Reader::start(&destination, 0, &writer.ends);
    let mut most = (0, 0);
    for _ in 0..2 {
        let before = reader.position();
        until("bytes", || {
            most = (
                most.0.max(own(sender.pid())),
                most.1.max(own(receiver.pid())),
            );
            reader.position() > before + 10_000_000
        });
        proxy.set(Network::Silent);
        for _ in 0..100 {
            std::thread::sleep(Duration::from_millis(10));
            most = (
                most.0.max(own(sender.pid())),
                most.1.max(own(receiver.pid())),
            );
        }
        proxy.set(Network::Passes);
    }
    println!("most memory of the sender and of the receiver: {most:?}");
    assert!(most.0 <= 32 << 20 && most.1 <= 32 << 20, "{most:?}");
    let last = writer.stop();
    reader.finish(last);
}
