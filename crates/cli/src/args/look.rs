//! The options of the verbs that look at rings, measure, and remove.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum, ValueHint};
use clap_complete::Shell;
use shmpipe::sysv::SegmentId;

use super::values::{capacity, duration, interval, number, path, positive_size, size, user};

/// What rings are sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Sort {
    Path,
    #[default]
    Id,
    Owner,
    State,
    Capacity,
    Fill,
    Total,
    Age,
    /// Bytes per second, or total bytes if there is no rate
    Rate,
}

#[derive(Args, Debug, Default)]
pub(crate) struct LsArgs {
    /// List all segments, not only rings
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Cut nothing, and add key, size, attachments, process ids and who waits
    #[arg(short, long)]
    pub(crate) wide: bool,
    /// Show exact numbers of bytes
    #[arg(short, long)]
    pub(crate) bytes: bool,
    /// Sort by this column; numbers from the largest
    #[arg(short, long, value_name = "KEY", default_value = "id")]
    pub(crate) sort: Sort,
    /// Show the list again every DURATION, or every second
    #[arg(long, value_name = "DURATION", num_args = 0..=1, require_equals = true, default_missing_value = "1s", value_parser = interval)]
    pub(crate) watch: Option<Duration>,
    /// Print JSON (version 1); with --watch, a line each time
    #[arg(long, conflicts_with_all = ["wide", "bytes"])]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct StatArgs {
    #[command(flatten)]
    pub(crate) target: StatTarget,
    /// The number of the ring, if PATH names several, 1 to 255
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = number(1_u32, Some(255)), conflicts_with_all = ["id", "pid"])]
    pub(crate) project: u32,
    /// Show the ring again every DURATION, or every second
    #[arg(long, value_name = "DURATION", num_args = 0..=1, require_equals = true, default_missing_value = "1s", value_parser = interval)]
    pub(crate) watch: Option<Duration>,
    /// Print JSON (version 1); with --watch, a line each time
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub(crate) struct StatTarget {
    /// The file that names the ring. A named ring loses its path once both sides are there:
    /// then the ring that was opened by this path is shown
    #[arg(value_parser = path(), value_hint = ValueHint::FilePath)]
    pub(crate) path: Option<PathBuf>,
    /// The id of the ring's segment
    #[arg(long, value_name = "N")]
    pub(crate) id: Option<SegmentId>,
    /// The rings of this process
    #[arg(long, value_name = "N", value_parser = number(1_u32, None))]
    pub(crate) pid: Option<u32>,
}

#[derive(Args, Debug)]
pub(crate) struct TopArgs {
    /// Time between two screens
    #[arg(short, long, value_name = "DURATION", default_value = "1s", value_parser = interval)]
    pub(crate) delay: Duration,
    /// Sort by this column; numbers from the largest
    #[arg(short, long, value_name = "KEY", default_value = "rate")]
    pub(crate) sort: Sort,
    /// Only rings whose path, owner, state or commands contain this
    #[arg(
        short,
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    pub(crate) filter: String,
    /// Print screens as text, one after the other
    #[arg(short, long)]
    pub(crate) batch: bool,
    /// End after this many screens
    #[arg(short = 'n', long, value_name = "N", value_parser = number(1_u64, None))]
    pub(crate) iterations: Option<u64>,
}

#[derive(Args, Debug)]
pub(crate) struct RmArgs {
    #[command(flatten)]
    pub(crate) target: RmTarget,
    /// The number of the ring, if PATH names several, 1 to 255
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = number(1_u32, Some(255)), conflicts_with_all = ["id", "stale"])]
    pub(crate) project: u32,
    /// Remove the ring even if it is in use. Its processes continue, but nobody else can
    /// find the ring any more
    #[arg(short, long, conflicts_with = "stale")]
    pub(crate) force: bool,
    /// Say what would be removed, and remove nothing
    #[arg(short = 'n', long)]
    pub(crate) dry_run: bool,
    /// With --stale: only rings that were made at least this long ago (10m, 1d)
    #[arg(long, value_name = "DURATION", conflicts_with_all = ["path", "id", "force"], value_parser = duration)]
    pub(crate) older_than: Option<Duration>,
    /// For root: remove rings of this user, by name or number, and with the rights of this user
    #[arg(short, long, value_name = "USER", value_parser = user, value_hint = ValueHint::Username)]
    pub(crate) owner: Option<u32>,
}

#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub(crate) struct RmTarget {
    /// The file that names the ring
    #[arg(value_parser = path(), value_hint = ValueHint::FilePath)]
    pub(crate) path: Option<PathBuf>,
    /// The id of the ring's segment
    #[arg(long, value_name = "N")]
    pub(crate) id: Option<SegmentId>,
    /// All rings that dead processes have left behind; never a persistent ring
    #[arg(long)]
    pub(crate) stale: bool,
}

#[derive(Args, Debug)]
pub(crate) struct DoctorArgs {
    /// Exit with 1 for a warning, too
    #[arg(long)]
    pub(crate) strict: bool,
    /// Print JSON (version 1)
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct BenchArgs {
    /// Bytes of each throughput measurement
    #[arg(long, value_name = "SIZE", default_value = "512M", value_parser = size)]
    pub(crate) bytes: u64,
    /// Rounds; each measures everything once
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = number(1_u32, Some(100)))]
    pub(crate) rounds: u32,
    /// Print JSON (version 1)
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct DemoArgs {
    /// A file to stream instead of pseudo-random bytes
    #[arg(conflicts_with_all = ["bytes", "seed"], value_parser = path(), value_hint = ValueHint::FilePath)]
    pub(crate) file: Option<PathBuf>,
    /// Bytes to stream in each run
    #[arg(long, value_name = "SIZE", default_value = "1G", value_parser = size)]
    pub(crate) bytes: u64,
    /// Capacity of the ring  [default: 4M]
    #[arg(short, long, value_name = "SIZE", value_parser = capacity)]
    pub(crate) capacity: Option<usize>,
    /// Bytes of each write, and the most bytes of each read. May be repeated
    #[arg(long, value_name = "SIZE", default_values = ["4K", "64K", "1M"], value_parser = positive_size)]
    pub(crate) block: Vec<usize>,
    /// Rounds; each measures everything once
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = number(1_u32, Some(100)))]
    pub(crate) rounds: u32,
    /// The seed of the pseudo-random bytes
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = number(0_u64, None))]
    pub(crate) seed: u64,
}

#[derive(Args, Debug)]
pub(crate) struct CompletionsArgs {
    /// The shell
    pub(crate) shell: Shell,
}

#[derive(Args, Debug)]
pub(crate) struct ManArgs {
    /// The folder for the pages
    #[arg(value_parser = path(), value_hint = ValueHint::DirPath)]
    pub(crate) folder: PathBuf,
}
