//! Figures of the relay, beside those of the engine alone, on a server that this program
//! starts. Nothing else should run on the machine.
//!
//! ```text
//! cargo run --release --example figures -- speed        # the sending leg, and a raw publisher
//! cargo run --release --example figures -- hop          # latency of one relay hop at a low rate
//! cargo run --release --example figures -- rings [100]  # many rings through one broker
//! ```
//!
//! `SHMPIPE_NATS_SERVER` names another server than `nats-server` of the path, and
//! `SHMPIPE_NATS_RUNS` is the number of runs, 5 by default. Runs alternate, and the figures
//! are medians, with the least and the most.

use std::collections::VecDeque;
use std::error::Error;
use std::future::IntoFuture;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use async_nats::ConnectOptions;
use async_nats::jetstream::{self, stream};
use shmpipe::{Options, Producer};
use shmpipe_nats::{Create, Link, Name, RecvOptions, SendOptions, recv, send};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Bytes of each run of `speed`.
const BYTES: usize = 128 << 20;
/// Bytes that the raw publisher has under way: the most that a sender has.
const WINDOW: usize = shmpipe_nats::window::MOST;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let verb = args.first().map_or("", String::as_str);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    match verb {
        "speed" => runtime.block_on(speed()),
        "hop" => runtime.block_on(hop()),
        "rings" => runtime.block_on(rings(args.get(1).map_or(Ok(100), |count| count.parse())?)),
        _ => Err("usage: figures speed | hop | rings [COUNT]".into()),
    }
}

fn runs() -> usize {
    let runs = std::env::var("SHMPIPE_NATS_RUNS").ok();
    runs.and_then(|runs| runs.parse().ok()).unwrap_or(5)
}

/// A server with a store of its own, and a folder for rings.
struct Server {
    child: Child,
    folder: PathBuf,
    url: String,
}

impl Server {
    fn start() -> Result<Server> {
        let folder = std::env::temp_dir().join(format!("shmpipe-figures-{}", std::process::id()));
        std::fs::create_dir(&folder)?;
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        drop(listener);
        let named = std::env::var("SHMPIPE_NATS_SERVER");
        let program = named.unwrap_or_else(|_| "nats-server".to_owned());
        let child = Command::new(&program)
            .args(["-js", "-a", "127.0.0.1", "-p", &port.to_string(), "-sd"])
            .arg(folder.join("store"))
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("{program}: {error}"))?;
        let version = Command::new(&program).arg("--version").output()?.stdout;
        println!("{}", String::from_utf8_lossy(&version).trim());
        Ok(Server {
            child,
            folder,
            url: format!("nats://127.0.0.1:{port}"),
        })
    }

    async fn link(&self) -> Result<Link> {
        let patience = Some(Duration::from_secs(10));
        Ok(Link::connect(&self.url, ConnectOptions::new(), patience).await?)
    }

    fn ring(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn memory(&self) -> String {
        memory(self.child.id())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Memory of a process's own, without what it shares.
fn memory(pid: u32) -> String {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let kib: f64 = line
        .and_then(|line| line.trim().trim_end_matches(" kB").parse().ok())
        .unwrap_or(0.0);
    format!("{:.0} MiB", kib / 1024.0)
}

fn options(capacity: usize) -> Options {
    let mut options = Options::new();
    options
        .persistent(true)
        .create_file(true)
        .capacity(capacity);
    options
}

fn median(mut figures: Vec<f64>) -> String {
    figures.sort_by(f64::total_cmp);
    let (least, most) = (figures[0], figures[figures.len() - 1]);
    format!(
        "{:8.1} ({least:.1} to {most:.1})",
        figures[figures.len() / 2]
    )
}

async fn speed() -> Result<()> {
    let server = Server::start()?;
    let link = server.link().await?;
    let client = async_nats::connect(&server.url).await?;
    println!("MB/s of {} MiB; medians of {} runs", BYTES >> 20, runs());
    println!("record    raw publisher                 sender");
    for size in [128 << 10, 16 << 10, 4 << 10] {
        let (mut raw, mut sent) = (Vec::new(), Vec::new());
        for _ in 0..runs() {
            raw.push(raw_publisher(&client, size).await?);
            sent.push(sender(&server, &link, size).await?);
        }
        println!(
            "{:4} KiB {:30} {:30}",
            size >> 10,
            median(raw),
            median(sent)
        );
    }
    Ok(())
}

fn rate(start: Instant) -> f64 {
    BYTES as f64 / start.elapsed().as_secs_f64() / 1e6
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
    for _ in 0..BYTES / size {
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

/// The sending leg alone: all bytes are in the ring before.
async fn sender(server: &Server, link: &Link, size: usize) -> Result<f64> {
    let path = server.ring("prefilled");
    let mut producer = options(BYTES).open_producer(&path)?;
    producer.try_write_all(&vec![7; BYTES])?;
    producer.close()?;
    let mut options_of_sender = SendOptions::new(Name::new("prefilled")?);
    options_of_sender.chunk = size;
    options_of_sender.ends = Some(1);
    let ring = options(BYTES).open_consumer(&path)?;
    let start = Instant::now();
    send(link, ring, &options_of_sender, |_| ()).await?;
    let rate = rate(start);
    Options::new().force_remove(&path)?;
    let client = async_nats::connect(&server.url).await?;
    jetstream::new(client).delete_stream("prefilled").await?;
    Ok(rate)
}

/// One message in 5 ms: how long it takes from ring to ring, and through the engine alone.
async fn hop() -> Result<()> {
    const MESSAGES: u64 = 1000;
    let server = Server::start()?;
    let (from, to) = (server.ring("from"), server.ring("to"));
    let mut producer = options(1 << 20).open_producer(&from)?;
    drop(options(1 << 20).open_consumer(&to)?);
    relays(&server, "hop", &from, &to);
    let mut consumer = options(1 << 20).open_consumer(&to)?;
    consumer.wait_for_peer()?;
    let measured = tokio::task::spawn_blocking(move || -> std::io::Result<_> {
        let mut times = Vec::new();
        for _ in 0..MESSAGES {
            std::thread::sleep(Duration::from_millis(5));
            let start = Instant::now();
            producer.try_write_all(&[7; 64])?;
            // An error says that the receiver is about to come.
            while consumer.wait_readable(64).is_err() {}
            let grant = consumer.try_peek(64)?;
            times.push(start.elapsed());
            grant.consume_all();
        }
        Ok(times)
    });
    let ring = measured.await??;
    let engine = engine_hop(&server, MESSAGES).await?;
    println!("microseconds for 64 bytes, one message in 5 ms; median and 99th percentile");
    for (what, mut times) in [("ring to ring", ring), ("JetStream alone", engine)] {
        times.sort();
        let at = |share: f64| times[(times.len() as f64 * share) as usize].as_micros();
        println!("{what:20} {:6} {:6}", at(0.5), at(0.99));
    }
    Options::new().force_remove(&from)?;
    Options::new().force_remove(&to)?;
    Ok(())
}

/// From a publish to a pull consumer, in one process.
async fn engine_hop(server: &Server, messages: u64) -> Result<Vec<Duration>> {
    use futures_util::StreamExt;
    let context = jetstream::new(async_nats::connect(&server.url).await?);
    let config = stream::Config {
        name: "alone".to_owned(),
        subjects: vec!["alone".to_owned()],
        ..stream::Config::default()
    };
    let stream = context.create_stream(config).await?;
    let config = jetstream::consumer::pull::Config {
        ack_policy: jetstream::consumer::AckPolicy::None,
        ..Default::default()
    };
    let mut inbound = stream.create_consumer(config).await?.messages().await?;
    let mut times = Vec::new();
    for _ in 0..messages {
        tokio::time::sleep(Duration::from_millis(5)).await;
        let start = Instant::now();
        let answer = context.publish("alone", vec![7; 64].into()).await?;
        inbound.next().await.ok_or("no message")??;
        times.push(start.elapsed());
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
            let ring = options(1 << 20).open_consumer(from).expect("a ring");
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
            let _ = recv(&link, &to, &options(1 << 20), &name, |_| ()).await; // as above
        });
    }));
}

/// Many rings through one broker: all relays are tasks of this process, on one connection for
/// each direction.
async fn rings(count: usize) -> Result<()> {
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
         the broker has {}, all relays in one process {}",
        EACH >> 20,
        total as f64 / took / 1e6,
        server.memory(),
        memory(std::process::id()),
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
