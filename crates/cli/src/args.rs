//! The command line.

use std::env;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};
use fundu::{DurationParser, TimeUnit};
use shmpipe::escape::shown;
use shmpipe::sysv::SegmentId;

use crate::exit::{Code, Failure, TABLE};

/// A pipe made of System V shared memory.
#[derive(Debug, Parser)]
#[command(
    name = "shmpipe",
    version,
    after_help = TABLE,
    arg_required_else_help = false,
    disable_help_subcommand = true
)]
struct CommandLine {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Write stdin into the ring of PATH
    ///
    /// Waits for the receiver, which may start before or after. Exits with 0 once all of
    /// stdin is in the ring. If send fails or is interrupted, the receiver gets the bytes
    /// that were sent, and then fails too. A receiver that leaves is noticed, even if no
    /// input comes. With --persist, send waits for another receiver instead.
    #[command(after_help = TABLE)]
    Send(SendArgs),
    /// Write the ring of PATH to stdout
    ///
    /// Waits for the sender, which may start before or after. Exits with 0 once the whole
    /// stream is written, if the sender exited with 0. A stdout that nobody reads any more
    /// ends both.
    ///
    /// Takes one stream. With --persist, a stream counts as taken once all of it is
    /// written, whether it is whole or broken off. Bytes that a killed receiver has written
    /// may come again in the next one. The death of a sender is reported to each receiver,
    /// until another sender comes.
    #[command(after_help = TABLE)]
    Recv(RecvArgs),
    /// Stream from a child process through a ring, then through a pipe
    ///
    /// Every byte is verified. Prints the throughput of both, and how often each side of
    /// the ring slept and woke the other.
    #[command(after_help = TABLE)]
    Demo(DemoArgs),
    /// List the rings of this host
    ///
    /// Sizes are in bytes. ATTACHED counts two for each handle. ASLEEP says which side
    /// waits for the other. Writes to no ring.
    #[command(after_help = TABLE)]
    Ls,
    /// Remove a ring
    ///
    /// Removes rings only. An all-zero, unattached segment of a ring's size counts as a
    /// half-made ring if its creator is dead.
    #[command(after_help = TABLE)]
    Rm(RmArgs),
}

#[derive(Args, Debug)]
pub(crate) struct SendArgs {
    #[command(flatten)]
    pub(crate) stream: StreamArgs,
    /// Continue the stream of a sender that died, and skip the bytes of stdin that it has
    /// sent. Stdin must be a file. A sender that fails with this option can be resumed, too
    #[arg(long, requires = "persist")]
    pub(crate) resume: bool,
}

#[derive(Args, Debug)]
pub(crate) struct RecvArgs {
    #[command(flatten)]
    pub(crate) stream: StreamArgs,
    /// Continue with the next stream, and wait for the next sender, until interrupted. Also
    /// waits for a sender that resumes a dead one's stream. Ends with an error at a stream
    /// that is broken off
    #[arg(long, requires = "persist")]
    pub(crate) follow: bool,
}

#[derive(Args, Debug)]
pub(crate) struct StreamArgs {
    /// The file that names the ring. Made if missing; its contents do not matter
    #[arg(required_unless_present = "from_parent", value_parser = path())]
    path: Option<PathBuf>,
    /// Use the ring that the parent process has handed over, instead of a PATH
    #[arg(long, conflicts_with_all = ["path", "capacity", "project", "persist"])]
    from_parent: bool,
    /// Capacity of the ring in bytes, rounded up to a power of two (65536, 64KiB, 4MiB)
    #[arg(long, value_name = "SIZE", value_parser = positive_size)]
    pub(crate) capacity: Option<usize>,
    /// Which of the rings of PATH, 1 to 255
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=255))]
    pub(crate) project: u32,
    /// The longest wait for the peer to come, and for the ring to make progress (500ms, 1.5s,
    /// 2m, 1h, 1d). A bare number is seconds
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) timeout: Option<Duration>,
    /// Keep the ring until `shmpipe rm` removes it, and do not wait for the peer to come
    #[arg(long)]
    pub(crate) persist: bool,
}

impl StreamArgs {
    /// The file that names the ring, unless the parent has handed the ring over.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    pub(crate) fn options(&self) -> shmpipe::Options {
        let mut options = shmpipe::Options::new();
        options.project(self.project).persistent(self.persist);
        if let Some(capacity) = self.capacity {
            options.capacity(capacity);
        }
        if let Some(timeout) = self.timeout {
            options.timeout(Some(timeout));
        }
        options
    }
}

#[derive(Args, Debug)]
pub(crate) struct DemoArgs {
    /// A file to stream instead of pseudo-random bytes
    #[arg(conflicts_with_all = ["bytes", "seed"], value_parser = path())]
    pub(crate) file: Option<PathBuf>,
    /// Bytes to stream
    #[arg(long, value_name = "SIZE", default_value = "4GiB", value_parser = size)]
    pub(crate) bytes: u64,
    /// Capacity of the ring
    #[arg(long, value_name = "SIZE", value_parser = positive_size)]
    pub(crate) capacity: Option<usize>,
    /// Bytes of each write, and at most of each read
    #[arg(long, value_name = "SIZE", default_value = "64KiB", value_parser = positive_size)]
    pub(crate) block: usize,
    /// The seed of the pseudo-random bytes
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
}

#[derive(Args, Debug)]
pub(crate) struct RmArgs {
    #[command(flatten)]
    pub(crate) target: RmTarget,
    /// Which of the rings of PATH, 1 to 255
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=255), conflicts_with_all = ["id", "stale"])]
    pub(crate) project: u32,
    /// Remove the ring even if it is in use. Its processes continue, but nobody else can
    /// find the ring any more
    #[arg(long, conflicts_with = "stale")]
    pub(crate) force: bool,
}

#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub(crate) struct RmTarget {
    /// The file that names the ring
    #[arg(value_parser = path())]
    pub(crate) path: Option<PathBuf>,
    /// The id of the ring's segment
    #[arg(long, value_name = "N")]
    pub(crate) id: Option<SegmentId>,
    /// All rings that dead processes have left behind; never a persistent ring
    #[arg(long)]
    pub(crate) stale: bool,
}

/// Parses the command line. `Err(Ok(()))` if it asked for help or the version, which are
/// then printed.
pub(crate) fn parse() -> Result<Verb, Result<(), Failure>> {
    match CommandLine::try_parse() {
        Ok(line) => Ok(line.verb),
        Err(shown)
            if matches!(
                shown.kind(),
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
            ) =>
        {
            Err(shown.print().map_err(|error| Failure::io("stdout", &error)))
        }
        Err(error) => {
            // clap shows arguments with control characters incompletely. So it gets them
            // escaped.
            let escaped = env::args_os().map(|arg| match arg.is_empty() {
                true => arg,
                false => shown(&arg).to_string().into(),
            });
            let error = CommandLine::try_parse_from(escaped).err().unwrap_or(error);
            Err(Err(Failure::new(Code::Usage, one_line(&error))))
        }
    }
}

/// The first paragraph of clap's error: what is wrong.
fn one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let lines = text.lines().take_while(|line| !line.trim().is_empty());
    let wrong = lines.map(str::trim).collect::<Vec<_>>().join(" ");
    let wrong = wrong.strip_prefix("error: ").unwrap_or(&wrong);
    format!("{wrong} (see --help)")
}

/// A path that is not empty.
fn path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().try_map(|text| match text.is_empty() {
        true => Err("the path is empty"),
        false => Ok(PathBuf::from(text)),
    })
}

/// A number of bytes, exact to the byte: `65536`, `64KiB`, `1.5MB`. A unit's `B` may be missing.
fn size(text: &str) -> Result<u64, &'static str> {
    parse_size::parse_size(text).map_err(|error| match error {
        parse_size::Error::PosOverflow => "more than 64 bits hold",
        _ => "expected bytes, such as 65536, 64KiB (KiB is 1024 bytes) or 64KB (KB is 1000)",
    })
}

fn positive_size(text: &str) -> Result<usize, &'static str> {
    match usize::try_from(size(text)?) {
        Ok(0) => Err("at least 1 byte"),
        Ok(bytes) => Ok(bytes),
        Err(_) => Err("more than an address space holds"),
    }
}

/// A time: `500ms`, `1.5s`, `2m`, `1h`, `1d`. A bare number is seconds. `inf`, or a time too long
/// for a clock, is no limit.
fn duration(text: &str) -> Result<Duration, &'static str> {
    const UNITS: [TimeUnit; 5] = [
        TimeUnit::MilliSecond,
        TimeUnit::Second,
        TimeUnit::Minute,
        TimeUnit::Hour,
        TimeUnit::Day,
    ];
    const PARSER: DurationParser<'_> = DurationParser::builder()
        .time_units(&UNITS)
        .allow_time_unit_delimiter()
        .build();
    let time = PARSER
        .parse(text)
        .ok()
        .and_then(|time| time.try_into().ok());
    time.ok_or("expected a time, such as 500ms, 1.5s, 2m, 1h or 1d; a bare number is seconds")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(size("0"), Ok(0));
        assert_eq!(size("64KiB"), Ok(65536));
        assert_eq!(size("64kib"), Ok(65536));
        assert_eq!(size("64KB"), Ok(64000));
        assert_eq!(size("3 GiB"), Ok(3 << 30));
        assert_eq!(size("1.5MiB"), Ok(3 << 19));
        assert_eq!((size("4Ki"), size("4K")), (Ok(4096), Ok(4000)));
        assert_eq!(size("18446744073709551615"), Ok(u64::MAX)); // not rounded
        for wrong in ["", "KiB", "-1", "4XiB", "0x10", "inf"] {
            let error = size(wrong).unwrap_err();
            assert!(error.contains("KiB is 1024 bytes"), "{wrong}: {error}");
        }
        for large in ["18446744073709551616", "16777216TiB"] {
            assert_eq!(size(large), Err("more than 64 bits hold"));
        }
    }

    #[test]
    fn durations() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(duration("1.5 h"), Ok(Duration::from_secs(5400)));
        assert_eq!(duration("1d"), Ok(Duration::from_secs(86400)));
        // Scripts give bare seconds.
        assert_eq!(duration("7"), Ok(Duration::from_secs(7)));
        assert_eq!(duration("0.25"), Ok(Duration::from_millis(250)));
        for endless in ["inf", "99999999999999999999h"] {
            assert_eq!(duration(endless), Ok(Duration::MAX));
        }
        for wrong in ["", "s", "-1s", "nan", "1.2.3s", "5x", "5M", "5Ms", "soon"] {
            let error = duration(wrong).unwrap_err();
            assert!(
                error.contains("a bare number is seconds"),
                "{wrong}: {error}"
            );
        }
    }

    #[test]
    fn the_command_line_is_well_formed() {
        use clap::CommandFactory;
        CommandLine::command().debug_assert();
    }
}
