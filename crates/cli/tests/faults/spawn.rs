//! A program that starts the command with the other end of its ring.

use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::common::{Exec, check};
use crate::scenario::{Done, PLAIN, SEED, STREAM, Scenario, bytes, options, shown};
use crate::supervisor::scratch;

pub(crate) const SCENARIO: Scenario = Scenario {
    name: "spawn",
    target,
    ..PLAIN
};

/// The child that gets the other end is a target too, from its first call on.
fn target(_: &Path, limit: Duration, moved: &mut u64) -> Done {
    let received = scratch(b"");
    let stdout = received.try_clone().map_err(shown)?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_shmpipe"));
    command
        .args(["recv", "--from-parent", "--timeout"])
        .arg(format!("{}ms", limit.as_millis()))
        .stdin(Stdio::null())
        .stdout(stdout);
    let ring = options(limit).create_anonymous().map_err(shown)?;
    let (mut producer, child) = ring.spawn_consumer(&mut command).map_err(shown)?;
    let mut child = Exec::from(child);
    for piece in bytes().chunks(1500) {
        if let Err(error) = producer.write_all(piece) {
            producer.abort();
            return Err(shown(error));
        }
        *moved += piece.len() as u64;
    }
    producer.close().map_err(shown)?;
    let status = child.wait();
    if !status.success() {
        return Err(format!("the child: {status}"));
    }
    let mut all = vec![0; STREAM];
    received.read_exact_at(&mut all, 0).map_err(shown)?;
    check(SEED, 0, &all);
    Ok(())
}
