//! The command `shmpipe`: streams stdin to stdout of another process, shows
//! what the ring does, lists rings and removes them.
//!
//! One file per verb. Uses the public API of the crate, and nothing else of it.

mod args;
mod demo;
mod exit;
mod figures;
mod fork;
mod ls;
mod recv;
mod rm;
mod send;
mod signals;
mod source;
mod stream;
mod way;

use std::process::ExitCode;

use args::Verb;

fn main() -> ExitCode {
    let done = match args::parse() {
        Ok(Verb::Send(stream)) => send::run(&stream),
        Ok(Verb::Recv(stream)) => recv::run(&stream),
        Ok(Verb::Demo(demo)) => demo::run(&demo),
        Ok(Verb::Ls) => ls::run(),
        Ok(Verb::Rm(rm)) => rm::run(&rm),
        Err(ended) => ended,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => ExitCode::from(failure.report()),
    }
}
