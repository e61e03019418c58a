//! The command line. Help, completions and man pages are made from it.

mod look;
mod stream;
mod texts;
mod values;

use std::env;
use std::ffi::OsString;

use clap::builder::PossibleValuesParser;
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, Command, CommandFactory, FromArgMatches, Parser, Subcommand};
use shmpipe::escape::shown;

pub(crate) use look::{
    BenchArgs, CompletionsArgs, DemoArgs, DoctorArgs, LsArgs, ManArgs, RmArgs, RmTarget, Sort,
    StatArgs, TopArgs,
};
pub(crate) use stream::{ProgressArgs, RecvArgs, RunArgs, SendArgs};
use texts::long;

use crate::exit::{Code, Failure};

/// A pipe made of System V shared memory.
///
/// Two programs on one host stream bytes through a ring in shared memory. A file names the
/// ring, as with a FIFO.
#[derive(Debug, Parser)]
#[command(
    name = "shmpipe",
    version,
    after_help = "`shmpipe help VERB` is short, `shmpipe VERB --help` has examples and exit codes.",
    after_long_help = long(texts::ALL),
    max_term_width = 100,
    disable_help_subcommand = true,
    arg_required_else_help = true
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
    #[command(after_long_help = long(texts::SEND))]
    Send(SendArgs),
    /// Write the ring of PATH to stdout
    ///
    /// Waits for the sender, which may start before or after. Exits with 0 once the whole
    /// stream is written, if the sender exited with 0. If the reader of stdout goes, sender
    /// and receiver end.
    ///
    /// Takes one stream. With --persist, a stream counts as taken once all of it is
    /// written, whether it is whole or broken off. Bytes that a killed receiver has written
    /// may come again in the next one. The death of a sender is reported to each receiver,
    /// until another sender comes.
    #[command(after_long_help = long(texts::RECV))]
    Recv(RecvArgs),
    /// Run two commands, joined by a ring
    ///
    /// Stdout of the writer is stdin of the reader. If the writer fails, the reader gets
    /// SIGTERM before its stdin ends, so it cannot take the stream for whole. The exit status
    /// is that of the last command that failed, as with `pipefail` of a shell. A reader that
    /// was ended because the writer failed does not count.
    #[command(after_long_help = long(texts::RUN))]
    Run(RunArgs),
    /// List the rings of this host
    ///
    /// Rings of other users are rows, too, as far as the kernel tells. Writes to no ring. The
    /// list is cut to the width of the terminal. `+2` after the state counts ends of streams
    /// that no receiver has taken.
    #[command(after_long_help = long(texts::LS))]
    Ls(LsArgs),
    /// Show one ring, its rate, and who waits for whom
    ///
    /// Looks at the ring for a second. Writes to no ring.
    #[command(after_long_help = long(texts::STAT))]
    Stat(StatArgs),
    /// Watch all rings on a live screen
    ///
    /// Attaches rings read-only, so it disturbs none. `d` removes the chosen ring, after a
    /// question; `?` lists the keys.
    #[command(after_long_help = long(texts::TOP))]
    Top(TopArgs),
    /// Remove a ring
    ///
    /// Removes rings only. An all-zero, unattached segment of a ring's size counts as a
    /// half-made ring if its creator is dead.
    #[command(after_long_help = long(texts::RM))]
    Rm(RmArgs),
    /// Look for what would hinder rings on this host
    ///
    /// Says of each finding what it means for rings here, and what to do.
    #[command(after_long_help = long(texts::DOCTOR))]
    Doctor(DoctorArgs),
    /// Measure the ring beside a pipe and a socket on this host
    ///
    /// Takes less than a minute with the default size: no round begins after 45 seconds. Shows
    /// medians of interleaved rounds, and their spread.
    #[command(after_long_help = long(texts::BENCH))]
    Bench(BenchArgs),
    /// Stream from a child process through a ring and through a pipe
    ///
    /// Every byte is verified. Prints the throughput of both for some block sizes, and how
    /// often each side of the ring slept and woke the other.
    #[command(after_long_help = long(texts::DEMO))]
    Demo(DemoArgs),
    /// Print completions for a shell
    #[command(after_long_help = long(texts::COMPLETIONS))]
    Completions(CompletionsArgs),
    /// Write the man pages into a folder
    #[command(after_long_help = long(texts::MAN))]
    Man(ManArgs),
    /// Show the verbs, or the options of a verb
    Help {
        /// The verb
        verb: Option<String>,
    },
}

/// The definitions of the command line.
pub(crate) fn command() -> Command {
    let command = CommandLine::command();
    let verbs = command.get_subcommands().map(Command::get_name);
    let verbs: Vec<String> = verbs.map(str::to_owned).collect();
    let command = command.mut_subcommand("help", |help| {
        let verbs = PossibleValuesParser::new(&verbs);
        help.mut_arg("verb", |arg| {
            arg.value_parser(verbs).hide_possible_values(true)
        })
    });
    command.mut_subcommands(|verb| verb.mut_args(mannered))
}

/// An option with what all options have in common.
fn mannered(arg: Arg) -> Arg {
    let is_option = !arg.is_positional();
    // The last one counts, so that an alias of a shell can be overruled. To choose two rings is a
    // mistake.
    let chooses = ["id", "pid"].contains(&arg.get_id().as_str());
    let may_override = matches!(arg.get_action(), ArgAction::Set | ArgAction::SetTrue);
    let id = arg.get_id().clone();
    let arg = match is_option && may_override && !chooses {
        true => arg.overrides_with(id),
        false => arg,
    };
    // A number below zero is a wrong value, not an unknown option.
    let numbers = ["SIZE", "DURATION", "N", "BITS"];
    let mut names = arg.get_value_names().unwrap_or_default().iter();
    match is_option && names.any(|name| numbers.contains(&name.as_str())) {
        true => arg.allow_hyphen_values(true),
        false => arg,
    }
}

/// Parses the command line. `Err(Ok(()))` if it asked for help or the version, which are
/// then printed.
pub(crate) fn parse() -> Result<Verb, Result<(), Failure>> {
    match parse_from(env::args_os()) {
        Ok(Verb::Help { verb: None }) => Err(print(&command().render_help())),
        Ok(Verb::Help { verb: Some(verb) }) => {
            match parse_from(["shmpipe", &verb, "-h"].map(Into::into)) {
                Ok(_) => Err(Ok(())), // there is no verb without help
                Err(end) => Err(end),
            }
        }
        parsed => parsed,
    }
}

fn parse_from(args: impl IntoIterator<Item = OsString>) -> Result<Verb, Result<(), Failure>> {
    let args: Vec<_> = args.into_iter().collect();
    match parsed(&args) {
        Ok(line) => Ok(line.verb),
        Err(end) => match end.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Err(print(&end.render())),
            ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
                // If stderr is closed, only the exit code tells.
                let _ = end.print();
                Err(Err(Failure::exit(Code::Usage as u8)))
            }
            _ => Err(Err(wrong(&args, end))),
        },
    }
}

fn parsed(args: &[OsString]) -> clap::error::Result<CommandLine> {
    let mut command = command();
    let matches = command.try_get_matches_from_mut(args)?;
    CommandLine::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
}

/// Prints help, with colours if stdout is a terminal.
fn print(text: &clap::builder::StyledStr) -> Result<(), Failure> {
    crate::start::check_stdout()?;
    match crate::text::has_colours() {
        true => crate::text::print(text.ansi()),
        false => crate::text::print(text),
    }
}

/// The failure of a command line that is wrong.
fn wrong(args: &[OsString], error: clap::Error) -> Failure {
    // clap shows arguments with control characters incompletely. So clap gets escaped arguments.
    let escaped = args.iter().map(|arg| match arg.is_empty() {
        true => arg.clone(),
        false => shown(arg).to_string().into(),
    });
    let escaped: Vec<_> = escaped.collect();
    let error = parsed(&escaped).err().unwrap_or(error);
    Failure::new(Code::Usage, one_line(&error))
}

/// clap's message and suggestions in one line.
fn one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let lines = text.lines().take_while(|line| !line.trim().is_empty());
    let wrong = lines.map(str::trim).collect::<Vec<_>>().join(" ");
    let wrong = wrong.strip_prefix("error: ").unwrap_or(&wrong);
    let tips = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("tip: "));
    let tips = tips.filter(|tip| tip.contains("similar"));
    let tips: String = tips.map(|tip| format!("; {tip}")).collect();
    format!("{wrong}{tips} (see --help)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        command().debug_assert();
    }
}
