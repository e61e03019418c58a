//! The command, as its users run it.

#[path = "../../../../tests/common/mod.rs"]
mod common;

mod descriptors;
mod documents;
mod endings;
mod framed;
mod inherited;
mod look;
mod manual;
mod measure;
mod naming;
mod paths;
mod persist;
mod progress;
mod refusals;
mod removing;
mod run;
mod running;
mod signals;
mod speed;
mod streams;
mod terminal;
mod top;
mod verbs;
mod watch;
