//! The command `shmpipe-nats`.

#![deny(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use async_nats::ConnectOptions;
use clap::{Args, Parser, Subcommand};
use shmpipe::Options;
use shmpipe_nats::{Create, Error, Link, Name, RecvOptions, SendOptions, recv, send};
use tokio::signal::unix::{SignalKind, signal};

const EXIT_CODES: &str = "\
Exit codes:
  0  all of --ends have passed
  1  an error
  2  wrong usage
  3  another sender has taken the stream over
  4  bytes, ends or a claim are lost, or the far ring is new
After a signal: 128 plus its number.";

/// Relays a persistent ring of shmpipe to a ring on another host, through NATS JetStream.
#[derive(Parser)]
#[command(name = "shmpipe-nats", version, after_help = EXIT_CODES)]
struct Command {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Sends what a ring holds, and what comes later. Bytes leave the ring once the broker has them.
    Send(Send),
    /// Receives into a ring.
    Recv(Recv),
}

#[derive(Args)]
struct Common {
    /// The file that names the ring. It is created if it is missing.
    path: PathBuf,
    /// The servers' URLs, with commas between them.
    url: String,
    /// The stream: letters, digits, - and _.
    #[arg(long, value_name = "NAME")]
    stream: String,
    /// Capacity of the ring in bytes, if this process makes it.
    #[arg(long, value_name = "BYTES")]
    capacity: Option<usize>,
    /// Stop after this many ends of streams.
    #[arg(long, value_name = "NUMBER")]
    ends: Option<u64>,
    /// Give up after this time without a broker at the start. By default, wait for ever for a
    /// broker; `send` then gives the broker 10 seconds to start its JetStream.
    #[arg(long, value_name = "SECONDS")]
    patience: Option<u64>,
    /// The JetStream domain, such as that of a leaf node.
    #[arg(long)]
    domain: Option<String>,
    /// Print no notices.
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    access: Access,
}

/// Who we are to the broker.
#[derive(Args)]
struct Access {
    /// A file of credentials: a JWT and its seed.
    #[arg(long, value_name = "FILE")]
    creds: Option<PathBuf>,
    /// A file with the seed of an nkey.
    #[arg(long, value_name = "FILE")]
    nkey: Option<PathBuf>,
    /// A user; the password is in the environment variable NATS_PASSWORD. A token is in
    /// NATS_TOKEN.
    #[arg(long)]
    user: Option<String>,
    /// Refuse a connection without TLS.
    #[arg(long)]
    tls: bool,
    /// A file of certificates to trust besides those of the system.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// A client certificate.
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// The key of the client certificate.
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// The prefix of inboxes, where permissions ask for another one.
    #[arg(long, value_name = "SUBJECT")]
    inbox: Option<String>,
}

#[derive(Args)]
struct Send {
    #[command(flatten)]
    common: Common,
    /// If the stream is missing, create it to keep this many bytes.
    #[arg(long, value_name = "BYTES", default_value_t = Create::default().max_bytes)]
    max_bytes: u64,
    /// If the stream is missing, create it on this many servers.
    #[arg(long, value_name = "NUMBER", default_value_t = Create::default().replicas)]
    replicas: usize,
    /// Fail if the stream is missing.
    #[arg(long)]
    no_create: bool,
    /// The most bytes in a record, up to 1 MiB.
    #[arg(long, value_name = "BYTES", default_value_t = 128 << 10)]
    chunk: usize,
    /// Begin the log at what the ring still has, although it has released bytes before.
    #[arg(long)]
    begin: bool,
}

#[derive(Args)]
struct Recv {
    #[command(flatten)]
    common: Common,
    /// Begin at whatever the log begins with.
    #[arg(long)]
    join: bool,
    /// Continue after lost bytes or ends, and in a new ring.
    #[arg(long)]
    accept_loss: bool,
    /// Do not trim the log: it fills up, unless something else trims it.
    #[arg(long)]
    no_trim: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let command = Command::parse();
    let stopped = async {
        let wait = |kind| async move {
            match signal(kind) {
                Ok(mut signal) => signal.recv().await,
                Err(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = wait(SignalKind::interrupt()) => SignalKind::interrupt(),
            _ = wait(SignalKind::terminate()) => SignalKind::terminate(),
            _ = wait(SignalKind::hangup()) => SignalKind::hangup(),
        }
    };
    let done = tokio::select! {
        done = run(command.verb) => done,
        // The relay is dropped, and the next one continues.
        signal = stopped => return ExitCode::from(128 + signal.as_raw_value() as u8),
    };
    let Err(error) = done else {
        return ExitCode::SUCCESS;
    };
    eprintln!("shmpipe-nats: {error}");
    ExitCode::from(match error {
        Error::Name { .. } => 2,
        Error::Superseded { .. } => 3,
        Error::Log(_) | Error::NewDestination => 4,
        _ => 1,
    })
}

async fn run(verb: Verb) -> Result<(), Error> {
    match verb {
        Verb::Send(verb) => {
            let common = &verb.common;
            let mut options = SendOptions::new(Name::new(&common.stream)?);
            options.create = (!verb.no_create).then_some(Create {
                max_bytes: verb.max_bytes,
                replicas: verb.replicas,
            });
            options.chunk = verb.chunk.max(1);
            options.begins = verb.begin;
            options.ends = common.ends;
            if let Some(patience) = common.patience {
                options.patience = Duration::from_secs(patience);
            }
            let ring = ring(common).open_consumer(&common.path)?;
            let link = link(common).await?;
            send(&link, ring, &options, notice(common.quiet)).await
        }
        Verb::Recv(verb) => {
            let common = &verb.common;
            let mut options = RecvOptions::new(Name::new(&common.stream)?);
            options.joins = verb.join;
            options.accepts_loss = verb.accept_loss;
            options.trims = !verb.no_trim;
            options.ends = common.ends;
            options.patience = common.patience.map(Duration::from_secs);
            let link = link(common).await?;
            recv(
                &link,
                &common.path,
                &ring(common),
                &options,
                notice(common.quiet),
            )
            .await
        }
    }
}

fn ring(common: &Common) -> Options {
    let mut options = Options::new();
    options.persistent(true).create_file(true);
    if let Some(capacity) = common.capacity {
        options.capacity(capacity);
    }
    options
}

async fn link(common: &Common) -> Result<Link, Error> {
    let access = &common.access;
    let mut options = ConnectOptions::new().require_tls(access.tls);
    if let Some(path) = &access.creds {
        let options_with = options.credentials_file(path).await;
        options = options_with.map_err(|source| file(path, source))?;
    }
    if let Some(path) = &access.nkey {
        let seed = std::fs::read_to_string(path).map_err(|source| file(path, source))?;
        options = options.nkey(seed.trim().to_owned());
    }
    if let Some(user) = &access.user {
        let password = std::env::var("NATS_PASSWORD").unwrap_or_default();
        options = options.user_and_password(user.clone(), password);
    }
    if let Ok(token) = std::env::var("NATS_TOKEN") {
        options = options.token(token);
    }
    if let Some(path) = &access.ca {
        options = options.add_root_certificates(path.clone());
    }
    if let (Some(cert), Some(key)) = (&access.cert, &access.key) {
        options = options.add_client_certificate(cert.clone(), key.clone());
    }
    if let Some(inbox) = &access.inbox {
        options = options.custom_inbox_prefix(inbox);
    }
    let patience = common.patience.map(Duration::from_secs);
    let link = Link::connect(&common.url, options, patience).await?;
    Ok(link.domain(common.domain.clone()))
}

fn file(path: &Path, source: std::io::Error) -> Error {
    Error::File {
        path: path.to_owned(),
        source,
    }
}

/// Prints notices, equal ones in a row once.
fn notice(quiet: bool) -> impl FnMut(&str) {
    let mut last = String::new();
    move |notice| {
        if !quiet && notice != last {
            eprintln!("shmpipe-nats: {notice}");
            notice.clone_into(&mut last);
        }
    }
}
