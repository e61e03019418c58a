//! The sending leg beside a raw publisher of the engine.

use std::collections::VecDeque;
use std::future::IntoFuture;
use std::io::Write;
use std::time::Instant;

use async_nats::jetstream::{self, stream};
use shmpipe::Options;
use shmpipe_nats::{Link, Name, SendOptions, send};

use crate::{Figures, Result, Server, bytes, options, runs, verdict};

/// Bytes that the raw publisher has in flight: the most that a sender has.
const WINDOW: usize = shmpipe_nats::window::MOST;
/// The largest record.
const RECORD: usize = 128 << 10;
/// What the sender has to reach at records of that size, as a share of the publisher's rate.
const BAR: f64 = 0.8;

pub(crate) async fn speed() -> Result<()> {
    let server = Server::start()?;
    let link = server.link().await?;
    let client = async_nats::connect(&server.url).await?;
    println!(
        "MB/s of {} MiB; medians of {} runs, least to most",
        bytes() >> 20,
        runs()
    );
    println!(
        "{:>7}  {:25}  {:25}  {:25}  share",
        "size", "raw publisher", "records of that size", "writes of it, batched"
    );
    for size in [RECORD, 16 << 10, 4 << 10] {
        let mut figures = [const { Vec::new() }; 3];
        for run in 0..runs() {
            for turn in 0..3 {
                let which = (run + turn) % 3;
                figures[which].push(match which {
                    0 => raw_publisher(&client, size).await?,
                    1 => sender(&server, &link, size).await?,
                    _ => batched(&server, &link, size).await?,
                });
            }
        }
        let [raw, sent, batched] = figures.map(Figures);
        let share = sent.median() / raw.median();
        let bar = match size {
            RECORD => format!(": the bar of {BAR} {}", verdict(share >= BAR)),
            _ => String::new(),
        };
        println!(
            "{:3} KiB  {raw:25}  {sent:25}  {batched:25}  {share:.2}{bar}",
            size >> 10
        );
    }
    Ok(())
}

fn rate(start: Instant) -> f64 {
    bytes() as f64 / start.elapsed().as_secs_f64() / 1e6
}

/// A JetStream publisher with a window, on a stream like ours.
async fn raw_publisher(client: &async_nats::Client, size: usize) -> Result<f64> {
    let context = jetstream::ContextBuilder::new()
        .max_ack_inflight(8192)
        .build(client.clone());
    let config = stream::Config {
        name: "raw".to_owned(),
        subjects: vec!["raw".to_owned()],
        max_bytes: 1 << 30,
        discard: stream::DiscardPolicy::New,
        ..stream::Config::default()
    };
    context.create_stream(config).await?;
    let payload = bytes::Bytes::from(vec![7; size]);
    let start = Instant::now();
    let mut under_way = VecDeque::new();
    let most = (WINDOW / size).min(shmpipe_nats::window::RECORDS);
    for _ in 0..bytes() / size {
        if under_way.len() == most
            && let Some(answer) = under_way.pop_front()
        {
            let answer: jetstream::context::PublishAckFuture = answer;
            answer.into_future().await?;
        }
        under_way.push_back(context.publish("raw", payload.clone()).await?);
    }
    for answer in under_way {
        answer.into_future().await?;
    }
    let rate = rate(start);
    context.delete_stream("raw").await?;
    Ok(rate)
}

/// The sending leg alone: all bytes are in the ring before. So is the stream at the broker, as that of
/// the publisher is: an empty stream of the ring makes it.
async fn sender(server: &Server, link: &Link, size: usize) -> Result<f64> {
    let path = server.ring("prefilled");
    options(bytes()).open_producer(&path)?.close()?;
    let ring = options(bytes()).open_consumer(&path)?;
    send(link, ring, &of_record("prefilled", size)?, |_| ()).await?;
    let mut producer = options(bytes()).open_producer(&path)?;
    producer.try_write_all(&vec![7; bytes()])?;
    producer.close()?;
    // A ring that is in use has its pages.
    let ring = options(bytes()).prefault(true).open_consumer(&path)?;
    let start = Instant::now();
    send(link, ring, &of_record("prefilled", size)?, |_| ()).await?;
    let rate = rate(start);
    remove(server, &path, "prefilled").await?;
    Ok(rate)
}

/// A producer writes pieces of this size meanwhile, and the sender makes records as it likes.
async fn batched(server: &Server, link: &Link, size: usize) -> Result<f64> {
    const CAPACITY: usize = 16 << 20;
    let path = server.ring("batched");
    let ring = options(CAPACITY).open_consumer(&path)?;
    let mut producer = options(CAPACITY).open_producer(&path)?;
    let start = Instant::now();
    let writer = std::thread::spawn(move || -> std::result::Result<(), String> {
        let piece = vec![7; size];
        for _ in 0..bytes() / size {
            producer
                .write_all(&piece)
                .map_err(|error| error.to_string())?;
        }
        producer.close().map_err(|error| error.to_string())
    });
    send(link, ring, &of_record("batched", RECORD)?, |_| ()).await?;
    let rate = rate(start);
    writer.join().map_err(|_| "the writer failed")??;
    remove(server, &path, "batched").await?;
    Ok(rate)
}

fn of_record(name: &str, size: usize) -> Result<SendOptions> {
    let mut options = SendOptions::new(Name::new(name)?);
    options.chunk = size;
    options.ends = Some(1);
    Ok(options)
}

async fn remove(server: &Server, path: &std::path::Path, stream: &str) -> Result<()> {
    Options::new().force_remove(path)?;
    let client = async_nats::connect(&server.url).await?;
    jetstream::new(client).delete_stream(stream).await?;
    Ok(())
}
