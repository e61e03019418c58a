//! SIGKILL of each relay, of the broker, and of all together, while streams pass.

use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::relay::Relay;
use crate::rings::{Reader, Ring, Writer};
use crate::server::Server;
use crate::{PATIENCE, until};

/// A number of the environment, or this one.
fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |number| number.parse().unwrap())
}

/// A generator whose seed is printed.
fn random() -> Rng {
    let seed = number("SHMPIPE_SEED", fastrand::u64(..));
    println!("SHMPIPE_SEED={seed}");
    Rng::with_seed(seed)
}

/// What is killed, and how often it was.
struct Victims {
    sender: Relay,
    receiver: Relay,
    server: Server,
    kills: [u32; 3],
}

impl Victims {
    /// Both relays and the broker between these rings. A small log, so that it fills, too.
    fn between(source: &Ring, destination: &Ring, max_bytes: &str) -> Victims {
        let server = Server::new();
        let url = server.url();
        Victims {
            sender: Relay::send(&source.path(), "kills", &url, &["--max-bytes", max_bytes]),
            receiver: Relay::recv(&destination.path(), "kills", &url, &[]),
            server,
            kills: [0; 3],
        }
    }

    fn assert_run(&mut self) {
        self.sender.assert_runs();
        self.receiver.assert_runs();
    }

    /// Kills one, two or all of them, and starts them again.
    fn kill_some(&mut self, random: &mut Rng) {
        let victims = random.u8(1..8);
        let is = [victims & 1 != 0, victims & 2 != 0, victims & 4 != 0];
        if is[0] {
            self.sender.kill();
        }
        if is[1] {
            self.receiver.kill();
        }
        if is[2] {
            self.server.kill();
        }
        std::thread::sleep(Duration::from_millis(random.u64(..30)));
        if is[2] {
            self.server.start();
        }
        if is[0] {
            self.sender.restart();
        }
        if is[1] {
            self.receiver.restart();
        }
        for (kills, is) in self.kills.iter_mut().zip(is) {
            *kills += u32::from(is);
        }
    }

    /// Says how it went. The log of the test has no other figures.
    fn tell(&self, rounds: u64, bytes: u64, start: Instant) {
        let [sender, receiver, broker] = self.kills;
        println!(
            "{rounds} rounds, {bytes} bytes in {} s; kills of the sender {sender}, of the receiver \
             {receiver}, of the broker {broker}",
            start.elapsed().as_secs()
        );
    }
}

#[test]
fn kills_lose_nothing_and_repeat_nothing() {
    let (mut random, start) = (random(), Instant::now());
    let (source, destination) = (Ring::new(), Ring::new());
    let mut victims = Victims::between(&source, &destination, "2000000");
    let writer = Writer::start(&source, 0, random.u64(..), 1 << 20);
    let reader = Reader::start(&destination, 0, &writer.ends);
    let rounds = number("SHMPIPE_NATS_KILLS", 50);
    for round in 0..rounds {
        let before = reader.position();
        // Some kills follow one another at once.
        if random.u8(..4) > 0 {
            let more = before + random.u64(1..500_000);
            until(&format!("bytes in round {round}"), || {
                assert!(!reader.fails(), "round {round}");
                victims.assert_run();
                reader.position() >= more
            });
        }
        std::thread::sleep(Duration::from_millis(random.u64(..30)));
        victims.kill_some(&mut random);
        if round % 100 == 99 {
            victims.tell(round + 1, reader.position(), start);
        }
    }
    let last = writer.stop();
    reader.finish(last);
    victims.tell(rounds, last, start);
}

/// Large rings and long streams. The kills come at times of their own, whatever happens then.
#[test]
fn many_bytes_pass_while_kills_come_at_any_time() {
    let (mut random, start) = (random(), Instant::now());
    let (source, destination) = (Ring::of(4 << 20), Ring::of(4 << 20));
    let mut victims = Victims::between(&source, &destination, "64000000");
    let writer = Writer::start(&source, 0, random.u64(..), 64 << 20);
    let reader = Reader::start(&destination, 0, &writer.ends);
    let (bytes, mut rounds) = (number("SHMPIPE_NATS_BYTES", 20_000_000), 0);
    let (mut position, mut moved, mut told) = (0, Instant::now(), 0);
    while position < bytes || rounds < 5 {
        std::thread::sleep(Duration::from_millis(random.u64(..2000)));
        assert!(!reader.fails(), "after {rounds} rounds");
        victims.assert_run();
        victims.kill_some(&mut random);
        rounds += 1;
        let now = reader.position();
        if now > position {
            (position, moved) = (now, Instant::now());
        }
        assert!(moved.elapsed() < PATIENCE, "nothing passes at {position}");
        if position / 1_000_000_000 > told {
            told = position / 1_000_000_000;
            victims.tell(rounds, position, start);
        }
    }
    let last = writer.stop();
    reader.finish(last);
    victims.tell(rounds, last, start);
}
