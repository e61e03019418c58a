//! SIGKILL of each relay, of the broker, and of all together, while streams pass.

use std::time::Duration;

use crate::relay::Relay;
use crate::rings::{Reader, Ring, Writer};
use crate::server::Server;
use crate::until;

/// Rounds of kills.
fn rounds() -> u32 {
    let rounds = std::env::var("SHMPIPE_NATS_KILLS");
    rounds.map_or(50, |rounds| rounds.parse().unwrap())
}

#[test]
fn kills_lose_nothing_and_repeat_nothing() {
    let seed = std::env::var("SHMPIPE_SEED")
        .map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("SHMPIPE_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let (source, destination) = (Ring::new(), Ring::new());
    let mut server = Server::new();
    let url = server.url();
    // A small log, so that it fills, too.
    let mut sender = Relay::send(&source.path(), "kills", &url, &["--max-bytes", "2000000"]);
    let mut receiver = Relay::recv(&destination.path(), "kills", &url, &[]);
    let writer = Writer::start(&source, 0, seed, 1 << 20);
    let reader = Reader::start(&destination, 0, &writer.ends);
    for round in 0..rounds() {
        let before = reader.position();
        // Some kills follow one another at once.
        if random.u8(..4) > 0 {
            let more = before + random.u64(1..500_000);
            until(&format!("bytes in round {round}"), || {
                assert!(!reader.fails(), "round {round}");
                sender.assert_runs();
                receiver.assert_runs();
                reader.position() >= more
            });
        }
        std::thread::sleep(Duration::from_millis(random.u64(..30)));
        let victims = random.u8(1..8);
        if victims & 1 != 0 {
            sender.kill();
        }
        if victims & 2 != 0 {
            receiver.kill();
        }
        if victims & 4 != 0 {
            server.kill();
        }
        std::thread::sleep(Duration::from_millis(random.u64(..30)));
        if victims & 4 != 0 {
            server.start();
        }
        if victims & 1 != 0 {
            sender.restart();
        }
        if victims & 2 != 0 {
            receiver.restart();
        }
    }
    let last = writer.stop();
    println!("{} rounds, {last} bytes", rounds());
    reader.finish(last);
}
