//! The options of `send`, `recv` and `run`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueHint};

use super::values::{capacity, duration, mode, number, path, user};

#[derive(Args, Debug)]
pub(crate) struct SendArgs {
    #[command(flatten)]
    pub(crate) stream: StreamArgs,
    /// Continue the stream of a sender that died, and skip the bytes of stdin that it has
    /// sent. Stdin must be a file. A sender that fails with this option can be resumed, too
    #[arg(long, requires = "persist", conflicts_with = "framed")]
    pub(crate) resume: bool,
    /// Take stdin from `recv --framed`: check its length and digest, and break the stream off
    /// unless they are right
    #[arg(long)]
    pub(crate) framed: bool,
}

#[derive(Args, Debug)]
pub(crate) struct RecvArgs {
    #[command(flatten)]
    pub(crate) stream: StreamArgs,
    /// Continue with the next stream, and wait for the next sender, until interrupted. With
    /// --persist, also wait for a sender that resumes the stream of a dead one. A stream that
    /// is broken off is an error
    #[arg(short, long, conflicts_with_all = ["framed", "from_parent"])]
    pub(crate) follow: bool,
    /// Append length and digest to the stream, for `send --framed` on another host
    #[arg(long)]
    pub(crate) framed: bool,
}

#[derive(Args, Debug)]
pub(crate) struct StreamArgs {
    /// The file that names the ring. Made if missing; its contents do not matter
    #[arg(required_unless_present = "from_parent", value_parser = path(), value_hint = ValueHint::FilePath)]
    path: Option<PathBuf>,
    /// Use the ring that the parent process has handed over, instead of a PATH
    #[arg(long, conflicts_with_all = ["path", "capacity", "project", "persist", "mode", "owner", "wait_for_peer"])]
    from_parent: bool,
    /// Capacity of the ring, rounded up to a power of two (65536, 64K, 4M)  [default: that of an
    /// existing ring, else 4M]
    #[arg(short, long, value_name = "SIZE", value_parser = capacity)]
    pub(crate) capacity: Option<usize>,
    /// The number of the ring, if PATH names several, 1 to 255
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = number(1_u32, Some(255)))]
    pub(crate) project: u32,
    /// The longest wait for the peer to come, and for the ring to make progress (500ms, 1m30s).
    /// A bare number is seconds  [default: no limit]
    #[arg(short, long, value_name = "DURATION", value_parser = duration)]
    pub(crate) timeout: Option<Duration>,
    /// Keep the ring until `shmpipe rm` removes it, and do not wait for the peer to come
    #[arg(short, long)]
    pub(crate) persist: bool,
    /// With --persist: wait for the peer to come, as without --persist
    #[arg(short, long, requires = "persist")]
    wait_for_peer: bool,
    /// Permission bits of the ring, and of PATH if it is made, as `mkfifo -m` (660)
    /// [default: 600]
    #[arg(short, long, value_name = "BITS", value_parser = mode)]
    mode: Option<u32>,
    /// Another user whose rings are trusted, by name or number. May be repeated
    #[arg(short, long, value_name = "USER", value_parser = user, value_hint = ValueHint::Username)]
    owner: Vec<u32>,
    #[command(flatten)]
    pub(crate) progress: ProgressArgs,
}

/// Whether and how progress is shown on stderr.
#[derive(Args, Clone, Copy, Debug, Default)]
pub(crate) struct ProgressArgs {
    /// Show the progress line even if stderr is not a terminal
    #[arg(short = 'P', long, help_heading = "Progress")]
    pub(crate) progress: bool,
    /// Show no progress line
    #[arg(short, long, conflicts_with_all = ["progress", "numbers"], help_heading = "Progress")]
    pub(crate) quiet: bool,
    /// Print a line of numbers each second instead: seconds, bytes, bytes per second, and
    /// percent of the ring that is full
    #[arg(short, long, conflicts_with = "progress", help_heading = "Progress")]
    pub(crate) numbers: bool,
}

impl ProgressArgs {
    /// No progress.
    pub(crate) const QUIET: ProgressArgs = ProgressArgs {
        progress: false,
        quiet: true,
        numbers: false,
    };
}

impl StreamArgs {
    /// The file that names the ring, unless the parent has handed the ring over.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// The permission bits that were asked for.
    pub(crate) fn mode(&self) -> Option<u32> {
        self.mode
    }

    pub(crate) fn options(&self) -> shmpipe::Options {
        let mut options = shmpipe::Options::new();
        options.project(self.project).persistent(self.persist);
        if self.wait_for_peer {
            options.wait_for_peer(true);
        }
        if let Some(bits) = self.mode {
            options.mode(bits);
        }
        for &uid in &self.owner {
            options.owner(uid);
        }
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
#[command(override_usage = "shmpipe run [OPTIONS] -- WRITER [ARG]... -- READER [ARG]...")]
pub(crate) struct RunArgs {
    /// Capacity of the ring, rounded up to a power of two  [default: 4M]
    #[arg(short, long, value_name = "SIZE", value_parser = capacity)]
    pub(crate) capacity: Option<usize>,
    /// The writer's command line, `--`, and the reader's
    #[arg(last = true, required = true, num_args = 1.., value_name = "COMMAND")]
    commands: Vec<OsString>,
}

impl RunArgs {
    /// The writer's and the reader's command lines. `None` without a `--` between two commands.
    pub(crate) fn commands(&self) -> Option<(&[OsString], &[OsString])> {
        let at = self.commands.iter().position(|word| word == "--")?;
        let (writer, reader) = (&self.commands[..at], &self.commands[at + 1..]);
        (!writer.is_empty() && !reader.is_empty()).then_some((writer, reader))
    }
}
