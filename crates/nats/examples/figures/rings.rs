//! Many rings through one broker.

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use shmpipe::{Options, Producer};
use shmpipe_nats::{Create, Name, RecvOptions, SendOptions, recv, send};

use crate::{Result, Server, options, own_memory};

/// Many rings through one broker: all relays are tasks of this process, on one connection for
/// each direction.
pub(crate) async fn rings(count: usize) -> Result<()> {
    const EACH: usize = 4 << 20;
    const CAPACITY: usize = 256 << 10;
    let server = Server::start()?;
    let (sending, receiving) = (server.link().await?, server.link().await?);
    let started = Instant::now();
    let mut tasks = Vec::new();
    let local = tokio::task::LocalSet::new();
    for number in 0..count {
        let name = Name::new(format!("ring-{number}"))?;
        let (from, to) = (
            server.ring(&format!("from-{number}")),
            server.ring(&format!("to-{number}")),
        );
        let ring = options(CAPACITY).open_consumer(&from)?;
        drop(options(CAPACITY).open_consumer(&to)?);
        let mut sender = SendOptions::new(name.clone());
        sender.create = Some(Create {
            max_bytes: 8 << 20,
            replicas: 1,
        });
        sender.ends = Some(1);
        let mut receiver = RecvOptions::new(name);
        receiver.ends = Some(1);
        let link = sending.clone();
        tasks.push(local.spawn_local(async move { send(&link, ring, &sender, |_| ()).await }));
        let link = receiving.clone();
        tasks.push(local.spawn_local(async move {
            recv(&link, &to, &options(CAPACITY), &receiver, |_| ()).await
        }));
    }
    let folder = server.folder.clone();
    let mover = std::thread::spawn(move || move_all(&folder, count, EACH, CAPACITY));
    local
        .run_until(async {
            for task in tasks {
                task.await??;
            }
            Ok::<(), Box<dyn Error>>(())
        })
        .await?;
    mover.join().map_err(|_| "the mover failed")??;
    let took = started.elapsed().as_secs_f64();
    let total = count * EACH;
    println!(
        "{count} rings, {} MiB each: {:.0} MB/s in all, {took:.1} s with the making of the streams; \
         the broker has {:.0} MiB, all relays in one process {:.0} MiB",
        EACH >> 20,
        total as f64 / took / 1e6,
        server.memory(),
        own_memory(std::process::id()),
    );
    for number in 0..count {
        for side in ["from", "to"] {
            Options::new().force_remove(server.ring(&format!("{side}-{number}")))?;
        }
    }
    Ok(())
}

/// Writes to all sources and reads from all destinations, in one thread, without waiting for
/// any one.
fn move_all(folder: &Path, count: usize, each: usize, capacity: usize) -> std::io::Result<()> {
    let path = |side: &str, number: usize| folder.join(format!("{side}-{number}"));
    let open = |number| options(capacity).open_producer(path("from", number));
    let mut sources: Vec<(Option<Producer>, usize)> = (0..count)
        .map(|number| Ok((Some(open(number)?), 0)))
        .collect::<std::io::Result<_>>()?;
    let open = |number| options(capacity).open_consumer(path("to", number));
    let mut sinks = (0..count)
        .map(open)
        .collect::<std::result::Result<Vec<_>, _>>()?;
    let (mut got, mut bytes) = (0, vec![7; 64 << 10]);
    while got < count * each {
        let mut moved = false;
        for (source, written) in &mut sources {
            if let Some(producer) = source {
                let most = bytes.len().min(each - *written);
                let len = producer.try_write(&bytes[..most]).unwrap_or(0);
                *written += len;
                moved |= len > 0;
                if *written == each {
                    *source = None; // finishes
                }
            }
        }
        for sink in &mut sinks {
            let len = sink.try_read(&mut bytes).unwrap_or(0);
            got += len;
            moved |= len > 0;
        }
        if !moved {
            std::thread::sleep(Duration::from_micros(200));
        }
    }
    Ok(())
}
