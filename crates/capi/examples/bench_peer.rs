//! The Rust side of `crates/capi/bench`: `bench_peer ROLE PATH BLOCK COUNT`. The roles are those of
//! `benches/peer.c`, which does the same calls in C.

use std::io::{Read, Write};
use std::time::Instant;

use ring::Options;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, role, path, block, count] = &arguments[..] else {
        return Err("bench_peer ROLE PATH BLOCK COUNT".into());
    };
    let (block, count): (usize, u64) = (block.parse()?, count.parse()?);
    let mut bytes = vec![7; block];
    let mut options = Options::new();
    options.create_file(true);
    match role.as_str() {
        "write" => {
            let mut producer = options.open_producer(path)?;
            for _ in 0..count {
                producer.write_all(&bytes)?;
            }
            producer.close()?;
        }
        "read" => {
            let mut consumer = options.open_consumer(path)?;
            let (mut total, mut start) = (0, None);
            loop {
                match consumer.read(&mut bytes)? {
                    0 => break,
                    len => total += len as u64,
                }
                start.get_or_insert_with(Instant::now);
            }
            let seconds = start.ok_or("nothing came")?.elapsed().as_secs_f64();
            println!("{:.3}", total as f64 / seconds / 1e9); // GB/s
        }
        "ping" | "pong" => {
            // The side that pings makes the first ring, and the other one the second.
            let pings = role == "ping";
            let (to, from) = (format!("{path}.to"), format!("{path}.from"));
            let (mut producer, mut consumer) = if pings {
                (options.open_producer(to)?, options.open_consumer(from)?)
            } else {
                let consumer = options.open_consumer(to)?;
                (options.open_producer(from)?, consumer)
            };
            let start = Instant::now();
            for _ in 0..count {
                if pings {
                    producer.write_all(&bytes)?;
                }
                consumer.read_exact(&mut bytes)?;
                if !pings {
                    producer.write_all(&bytes)?;
                }
            }
            if pings {
                println!("{:.1}", start.elapsed().as_nanos() as f64 / count as f64); // ns
            }
        }
        "messages" => {
            // One thread on both sides, so that nothing waits: what a call costs in instructions.
            let (mut producer, mut consumer) = options.pair()?;
            for _ in 0..count / 64 {
                for _ in 0..64 {
                    producer.write_all(&bytes)?;
                }
                for _ in 0..64 {
                    let len = consumer.read(&mut bytes)?;
                    assert_eq!(len, block);
                }
            }
            std::process::exit(0); // valgrind cannot follow the detaching
        }
        other => return Err(format!("no role is called {other}").into()),
    }
    Ok(())
}
