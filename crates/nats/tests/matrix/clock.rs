//! A host's clock that is set, while relays run.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, UNIX_EPOCH};

use crate::relay::Relay;
use crate::rings::{Reader, Ring, Writer};
use crate::server::Server;
use crate::{Folder, not_run, until};

/// Compiles Rust code in this folder, if there is a compiler.
fn compile(folder: &Folder, name: &str, code: &str, kind: &str) -> Option<PathBuf> {
    let (source, made) = (
        folder.path().join(format!("{name}.rs")),
        folder.path().join(name),
    );
    std::fs::write(&source, code).unwrap();
    let output = Command::new("rustc")
        .args(["--edition", "2024", "--crate-type", kind, "-o"])
        .args([&made, &source])
        .output()
        .ok()?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {said}");
    Some(made)
}

/// The time of day that a program sees.
fn time_of_day(program: &Path, shim: &Path) -> u64 {
    let output = Command::new(program)
        .env("LD_PRELOAD", shim)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.trim().parse().unwrap()
}

/// The relays' clocks go a year forward, and two years back, in turns of a second.
#[test]
fn a_clock_that_is_set_forward_and_back_changes_nothing() {
    let folder = Folder::new();
    let shim = compile(&folder, "shim", include_str!("clock/shim.rs"), "cdylib");
    let Some(shim) = shim.filter(|_| cfg!(any(target_arch = "x86_64", target_arch = "aarch64")))
    else {
        return not_run(
            "a clock that is set",
            "there is no rustc, or another processor",
        );
    };
    let tell = "fn main() {
        println!(\"{}\", std::time::UNIX_EPOCH.elapsed().unwrap().as_secs());
    }";
    let tell = compile(&folder, "tell", tell, "bin").unwrap();
    let now = UNIX_EPOCH.elapsed().unwrap().as_secs();
    let month = 30 * 24 * 3600;
    until("the clock goes forward", || {
        time_of_day(&tell, &shim) > now + month
    });
    until("the clock goes back", || {
        time_of_day(&tell, &shim) < now - month
    });

    let (source, destination) = (Ring::new(), Ring::new());
    let server = Server::new();
    let preload = [("LD_PRELOAD", shim.to_str().unwrap())];
    let relay = |verb, ring: &Ring| {
        let (path, url) = (ring.path(), server.url());
        let args = [verb, path.to_str().unwrap(), &url, "--stream", "clock"];
        Relay::with(&args, &preload)
    };
    let mut sender = relay("send", &source);
    let mut receiver = relay("recv", &destination);
    let writer = Writer::start(&source, 0, 37, 1 << 16);
    let reader = Reader::start(&destination, 0, &writer.ends);
    for round in 0..3 {
        let (start, before) = (Instant::now(), reader.position());
        until(
            &format!("bytes, and each clock is set, in round {round}"),
            || {
                sender.assert_runs();
                receiver.assert_runs();
                let moved = reader.position() > before + 100_000;
                reader.fails() || moved && start.elapsed() > Duration::from_secs(2)
            },
        );
        for relay in [&mut sender, &mut receiver] {
            let said = relay.said();
            assert!(
                !said.contains("says nothing") && !said.contains("timed out"),
                "{said}"
            );
            assert!(!said.contains("ld.so"), "{said}");
            relay.kill();
            relay.restart();
        }
    }
    let last = writer.stop();
    reader.finish(last);
}

/// Nothing here reads a clock that can be set.
#[test]
fn no_code_looks_at_the_time_of_day() {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(path).unwrap();
            assert!(
                !text.contains("SystemTime"),
                "a step of the clock would matter"
            );
            files += 1;
        }
    }
    assert!(files > 10);
}
