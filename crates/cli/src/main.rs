//! The command `shmpipe`: streams stdin of one process to stdout of another, shows the rings
//! of a host, measures them and removes them.
//!
//! Each verb has a file. The command uses the public interface of the library, and two hidden
//! items: `shmpipe::escape`, for paths in messages, and `shmpipe::sysv::page_size`.

mod args;
mod bench;
mod demo;
mod doctor;
mod exit;
mod figures;
mod fork;
mod framed;
mod json;
mod ls;
mod manual;
mod pipes;
mod progress;
mod recv;
mod rings;
mod rm;
mod run;
mod send;
mod signals;
mod sockets;
mod source;
mod start;
mod stat;
mod stream;
mod table;
mod text;
mod top;
mod transport;
mod units;

use std::process::ExitCode;

use args::Verb;
use exit::Failure;

fn main() -> ExitCode {
    let done = match args::parse() {
        Ok(verb) => start::check().and_then(|()| run(&verb)),
        Err(ended) => ended,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => ExitCode::from(failure.report()),
    }
}

fn run(verb: &Verb) -> Result<(), Failure> {
    match verb {
        Verb::Send(args) => send::run(args),
        Verb::Recv(args) => recv::run(args),
        Verb::Run(args) => run::run(args),
        Verb::Ls(args) => ls::run(args),
        Verb::Stat(args) => stat::run(args),
        Verb::Top(args) => top::run(args),
        Verb::Rm(args) => rm::run(args),
        Verb::Doctor(args) => doctor::run(args),
        Verb::Bench(args) => bench::run(args),
        Verb::Demo(args) => demo::run(args),
        Verb::Completions(args) => manual::completions(args),
        Verb::Man(args) => manual::pages(args),
        Verb::Help { .. } => Ok(()), // printed by `args`
    }
}
