//! Figures of the relay, beside those of the engine alone, on a server that this program
//! starts. Nothing else should run on the machine.
//!
//! ```text
//! cargo run --release --example figures -- speed        # the sending leg, and a raw publisher
//! cargo run --release --example figures -- hop          # latency of one relay hop at a low rate
//! cargo run --release --example figures -- memory       # of both relays, while they are pushed
//! cargo run --release --example figures -- rings [100]  # many rings through one broker
//! ```
//!
//! | variable | is |
//! |---|---|
//! | `SHMPIPE_NATS_SERVER` | another server than `nats-server` of the path |
//! | `SHMPIPE_NATS_RUNS` | the number of runs, 5 by default |
//! | `SHMPIPE_NATS_MIB` | the MiB of a run of `speed` and `memory`, 128 by default |
//!
//! The programs that are compared run in turns, and each run begins with another one. Figures are medians,
//! with the least and the most.

mod hop;
mod memory;
mod rings;
mod speed;

use std::error::Error;
use std::fmt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use async_nats::ConnectOptions;
use shmpipe::Options;
use shmpipe_nats::Link;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    match args[..] {
        ["speed"] => runtime.block_on(speed::speed()),
        ["hop"] => runtime.block_on(hop::hop()),
        ["memory"] => memory::memory(),
        ["rings"] => runtime.block_on(rings::rings(100)),
        ["rings", count] => runtime.block_on(rings::rings(count.parse()?)),
        // The processes that `memory` starts.
        [verb @ ("relay-send" | "relay-recv"), path, url] => {
            runtime.block_on(memory::relay(verb, path, url))
        }
        _ => Err("usage: figures speed | hop | memory | rings [COUNT]".into()),
    }
}

fn number(variable: &str, otherwise: usize) -> usize {
    let number = std::env::var(variable).ok();
    number
        .and_then(|number| number.parse().ok())
        .unwrap_or(otherwise)
}

fn runs() -> usize {
    number("SHMPIPE_NATS_RUNS", 5).max(1)
}

/// Bytes of each run.
fn bytes() -> usize {
    number("SHMPIPE_NATS_MIB", 128).max(1) << 20
}

/// Says which machine this is, and whether it is quiet.
fn tell_machine() {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("an unnamed processor", |model| {
        model.trim_matches(['\t', ' ', ':'])
    });
    let count = std::thread::available_parallelism().map_or(0, usize::from);
    let (kernel, load) = (read("/proc/sys/kernel/osrelease"), read("/proc/loadavg"));
    let load = load.split(' ').next().unwrap_or_default();
    println!(
        "{model}, {count} processors, Linux {}, load {load}",
        kernel.trim()
    );
    if cfg!(debug_assertions) {
        println!("built without optimisation: the figures mean nothing");
    }
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
        tell_machine();
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

    fn memory(&self) -> f64 {
        own_memory(self.child.id())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        // After an error, rings are left. They go before their files do: a file's inode, and so the key,
        // is the next file's.
        for file in std::fs::read_dir(&self.folder)
            .into_iter()
            .flatten()
            .flatten()
        {
            if file.file_type().is_ok_and(|kind| kind.is_file()) {
                let _ = Options::new().force_remove(file.path());
            }
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// MiB of a process's own, without what it shares.
fn own_memory(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let kib: f64 = line
        .and_then(|line| line.trim().trim_end_matches(" kB").parse().ok())
        .unwrap_or(0.0);
    kib / 1024.0
}

fn options(capacity: usize) -> Options {
    let mut options = Options::new();
    options
        .persistent(true)
        .create_file(true)
        .capacity(capacity);
    options
}

/// Figures of several runs.
struct Figures(Vec<f64>);

impl Figures {
    fn sorted(&self) -> Vec<f64> {
        let mut figures = self.0.clone();
        figures.sort_by(f64::total_cmp);
        figures
    }

    fn median(&self) -> f64 {
        self.at(0.5)
    }

    /// The figure below which this share of them lies.
    fn at(&self, share: f64) -> f64 {
        let figures = self.sorted();
        figures[(figures.len() as f64 * share) as usize]
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let figures = self.sorted();
        let (least, most) = (figures[0], figures[figures.len() - 1]);
        let text = format!("{:.1} ({least:.1} to {most:.1})", self.median());
        f.pad(&text)
    }
}

/// Says whether a bar is met.
fn verdict(holds: bool) -> &'static str {
    if holds { "holds" } else { "does NOT hold" }
}
