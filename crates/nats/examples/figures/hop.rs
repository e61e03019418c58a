//! Latency of one relay hop at a low rate.

use std::future::IntoFuture;
use std::path::Path;
use std::time::{Duration, Instant};

use async_nats::ConnectOptions;
use async_nats::jetstream::{self, Context, consumer::pull, stream};
use futures_util::StreamExt;
use shmpipe::{Consumer, Options, Producer};
use shmpipe_nats::{Link, Name, RecvOptions, SendOptions, recv, send};

use crate::{Figures, Result, Server, options, runs};

/// Messages of each run.
const MESSAGES: usize = 200;
/// The time between two messages.
const PAUSE: Duration = Duration::from_millis(5);
const CAPACITY: usize = 1 << 20;

/// One message in 5 ms: how long it takes from ring to ring, and through the engine alone.
pub(crate) async fn hop() -> Result<()> {
    let server = Server::start()?;
    let (from, to) = (server.ring("from"), server.ring("to"));
    let producer = options(CAPACITY).open_producer(&from)?;
    drop(options(CAPACITY).open_consumer(&to)?);
    relays(&server, "hop", &from, &to);
    let mut consumer = options(CAPACITY).open_consumer(&to)?;
    consumer.wait_for_peer()?;
    let mut rings = (producer, consumer);
    let (context, mut inbound) = engine(&server).await?;
    let (mut ring, mut alone) = (Vec::new(), Vec::new());
    for _ in 0..runs() {
        let moved = tokio::task::spawn_blocking(move || {
            let times = ring_to_ring(&mut rings.0, &mut rings.1);
            (rings, times)
        });
        let times;
        (rings, times) = moved.await?;
        ring.push(Figures(times?));
        alone.push(Figures(through_engine(&context, &mut inbound).await?));
    }
    println!(
        "microseconds for 64 bytes, one message in {PAUSE:?}; medians of {} runs of {MESSAGES}",
        runs()
    );
    println!(
        "{:16} {:25} {:25}",
        "", "half of them within", "99 % of them within"
    );
    for (what, runs) in [("ring to ring", ring), ("JetStream alone", alone)] {
        let at = |share| Figures(runs.iter().map(|run| run.at(share)).collect());
        println!("{what:16} {:25} {:25}", at(0.5), at(0.99));
    }
    drop(rings);
    Options::new().force_remove(&from)?;
    Options::new().force_remove(&to)?;
    Ok(())
}

fn micros(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e6
}

fn ring_to_ring(producer: &mut Producer, consumer: &mut Consumer) -> std::io::Result<Vec<f64>> {
    let mut times = Vec::new();
    for _ in 0..MESSAGES {
        std::thread::sleep(PAUSE);
        let start = Instant::now();
        producer.try_write_all(&[7; 64])?;
        // An error says that the receiver is about to come.
        while consumer.wait_readable(64).is_err() {}
        let grant = consumer.try_peek(64)?;
        times.push(micros(start));
        grant.consume_all();
    }
    Ok(times)
}

/// A stream, and a pull consumer of it.
async fn engine(server: &Server) -> Result<(Context, pull::Stream)> {
    let context = jetstream::new(async_nats::connect(&server.url).await?);
    let config = stream::Config {
        name: "alone".to_owned(),
        subjects: vec!["alone".to_owned()],
        ..stream::Config::default()
    };
    let stream = context.create_stream(config).await?;
    let config = pull::Config {
        ack_policy: jetstream::consumer::AckPolicy::None,
        ..Default::default()
    };
    let inbound = stream.create_consumer(config).await?.messages().await?;
    Ok((context, inbound))
}

/// From a publish to the pull consumer, in one process.
async fn through_engine(context: &Context, inbound: &mut pull::Stream) -> Result<Vec<f64>> {
    let mut times = Vec::new();
    for _ in 0..MESSAGES {
        tokio::time::sleep(PAUSE).await;
        let start = Instant::now();
        let answer = context.publish("alone", vec![7; 64].into()).await?;
        inbound.next().await.ok_or("no message")??;
        times.push(micros(start));
        answer.into_future().await?;
    }
    Ok(times)
}

/// Starts both relays in threads of their own, which end with the process.
fn relays(server: &Server, name: &str, from: &Path, to: &Path) {
    let run = |act: Box<dyn FnOnce(tokio::runtime::Runtime) + Send>| {
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            act(runtime.expect("a runtime"));
        });
    };
    let (url, named, from) = (server.url.clone(), name.to_owned(), from.to_owned());
    run(Box::new(move |runtime| {
        runtime.block_on(async {
            let link = Link::connect(&url, ConnectOptions::new(), None)
                .await
                .expect("a link");
            let ring = options(CAPACITY).open_consumer(from).expect("a ring");
            let options = SendOptions::new(Name::new(named).expect("a name"));
            let _ = send(&link, ring, &options, |_| ()).await; // the server has ended
        });
    }));
    let (url, named, to) = (server.url.clone(), name.to_owned(), to.to_owned());
    run(Box::new(move |runtime| {
        runtime.block_on(async {
            let link = Link::connect(&url, ConnectOptions::new(), None)
                .await
                .expect("a link");
            let name = RecvOptions::new(Name::new(named).expect("a name"));
            let _ = recv(&link, &to, &options(CAPACITY), &name, |_| ()).await; // as above
        });
    }));
}
