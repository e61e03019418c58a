//! Memory of both relays, each in a process of its own, while bytes pass as fast as they can.

use std::io::Write;
use std::process::{Child, Command};
use std::time::Duration;

use shmpipe::Options;
use shmpipe_nats::{Link, Name, RecvOptions, SendOptions, recv, send};

use crate::{Result, Server, bytes, options, own_memory, verdict};

const CAPACITY: usize = 16 << 20;
/// What a relay may have, in MiB.
const BAR: f64 = 32.0;

pub(crate) fn memory() -> Result<()> {
    let server = Server::start()?;
    let (from, to) = (server.ring("from"), server.ring("to"));
    let mut producer = options(CAPACITY).open_producer(&from)?;
    let mut consumer = options(CAPACITY).open_consumer(&to)?;
    let mut relays = Vec::new();
    for (verb, path) in [("relay-send", &from), ("relay-recv", &to)] {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(verb).arg(path).arg(&server.url);
        relays.push(Relay(command.spawn()?));
    }
    let writer = std::thread::spawn(move || -> std::result::Result<(), String> {
        let piece = vec![7; 64 << 10];
        for _ in 0..bytes() / piece.len() {
            producer
                .write_all(&piece)
                .map_err(|error| error.to_string())?;
        }
        producer.close().map_err(|error| error.to_string())
    });
    let (mut got, mut piece, mut most) = (0, vec![0; 1 << 20], [0.0_f64; 2]);
    while got < bytes() {
        for (most, relay) in most.iter_mut().zip(&mut relays) {
            *most = most.max(own_memory(relay.0.id()));
            if let Some(status) = relay.0.try_wait()?.filter(|status| !status.success()) {
                return Err(format!("a relay ended: {status}").into());
            }
        }
        match consumer.try_read(&mut piece) {
            Ok(len) if len > 0 => got += len,
            // Nothing is there, or the receiver is about to come.
            _ => std::thread::sleep(Duration::from_millis(1)),
        }
    }
    writer.join().map_err(|_| "the writer failed")??;
    let holds = most.iter().all(|&most| most <= BAR);
    println!(
        "{} MiB passed; most memory of the sender {:.1} MiB, of the receiver {:.1} MiB: the bar of \
         {BAR} MiB {}",
        bytes() >> 20,
        most[0],
        most[1],
        verdict(holds)
    );
    drop((relays, consumer));
    Options::new().force_remove(&from)?;
    Options::new().force_remove(&to)?;
    Ok(())
}

struct Relay(Child);

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.0.kill(); // or it has ended
        let _ = self.0.wait();
    }
}

/// A relay of one stream, in this process.
pub(crate) async fn relay(verb: &str, path: &str, url: &str) -> Result<()> {
    let link = Link::connect(url, async_nats::ConnectOptions::new(), None).await?;
    let name = Name::new("memory")?;
    if verb == "relay-send" {
        let ring = options(CAPACITY).open_consumer(path)?;
        let mut options = SendOptions::new(name);
        options.ends = Some(1);
        send(&link, ring, &options, |_| ()).await?;
    } else {
        let mut receiver = RecvOptions::new(name);
        receiver.ends = Some(1);
        recv(&link, path.as_ref(), &options(CAPACITY), &receiver, |_| ()).await?;
    }
    Ok(())
}
