//! The command `shmpipe`: streams stdin of one process to stdout of another, demonstrates a
//! ring, lists rings and removes them.
//!
//! Each verb has a file. The command uses the public interface of the library. The one
//! hidden item that it uses escapes paths in messages.

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
mod sockets;
mod source;
mod start;
mod stream;
mod text;
mod transport;

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
        Verb::Send(stream) => send::run(stream),
        Verb::Recv(stream) => recv::run(stream),
        Verb::Demo(demo) => demo::run(demo),
        Verb::Ls => ls::run(),
        Verb::Rm(rm) => rm::run(rm),
    }
}
