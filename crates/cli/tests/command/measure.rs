//! `doctor` and `bench`: what they find and measure, and as what.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::Value;

use crate::common::{TempPath, not_run};
use crate::running::{DONE, Running, USAGE};

fn json(args: &[&str]) -> Value {
    let shown = Running::new(args).end();
    let value: Value = serde_json::from_str(shown.text()).unwrap();
    assert_eq!(
        (&value["version"], &value["verb"]),
        (&1.into(), &args[0].into())
    );
    value
}

fn finding<'a>(doctor: &'a Value, subject: &str) -> &'a Value {
    let findings = doctor["findings"].as_array().unwrap();
    findings
        .iter()
        .find(|finding| finding["subject"] == subject)
        .unwrap()
}

#[test]
fn a_doctor_looks_at_all_that_may_hinder_rings() {
    let doctor = json(&["doctor", "--json"]);
    for subject in [
        "segments",
        "largest segment",
        "memory of segments",
        "shm_rmid_forced",
        "RemoveIPC of systemd-logind",
        "IPC namespace",
        "membarrier",
        "pidfd",
        "FUTEX_WAITV",
        "processors and load",
        "pipe-max-size",
        "stale rings",
        "files that name rings",
        "modes of rings",
    ] {
        let finding = finding(&doctor, subject);
        let is_ok = finding["level"] == "ok";
        assert_eq!(finding["means"] == "", is_ok, "{finding}");
        assert_eq!(finding["advice"] == "", is_ok, "{finding}");
    }
    let words = Running::new(["doctor"]).end();
    assert!(
        words.text().contains("segments: ") && words.text().contains(" warning"),
        "{}",
        words.text()
    );
}

/// Each kind of fault, in an IPC namespace of its own.
#[test]
fn a_doctor_finds_faults() {
    if !rustix::process::geteuid().is_root() {
        return not_run("needs root");
    }
    let unsafe_file = TempPath::new();
    fs::set_permissions(&*unsafe_file, fs::Permissions::from_mode(0o666)).unwrap();
    let kept = format!("\"$0\" send -p {} < /dev/null;", unsafe_file.display());
    for (fault, subject, level, status) in [
        ("", "segments", "ok", 0),
        (
            "echo 1 > /proc/sys/kernel/shm_rmid_forced;",
            "shm_rmid_forced",
            "warning",
            0,
        ),
        (
            "echo 0 > /proc/sys/kernel/shmmax;",
            "largest segment",
            "warning",
            0,
        ),
        (
            "ipcmk -M 4096 > /dev/null; echo 1 > /proc/sys/kernel/shmmni;",
            "segments",
            "problem",
            1,
        ),
        (&kept, "files that name rings", "warning", 0),
        (
            &kept.replace("send -p", "send -m 666 -p"),
            "modes of rings",
            "warning",
            0,
        ),
    ] {
        for (strict, status) in [("", status), ("--strict", i32::from(level != "ok"))] {
            let script = format!("{fault} exec \"$0\" doctor --json {strict}");
            let mut command = Command::new("unshare");
            command.args(["-i", "sh", "-c", &script, env!("CARGO_BIN_EXE_shmpipe")]);
            let ended = command.output().unwrap();
            let said = String::from_utf8_lossy(&ended.stderr);
            let doctor: Value = serde_json::from_slice(&ended.stdout).expect(&said);
            let found = finding(&doctor, subject);
            assert_eq!(found["level"], level, "{fault} {found}");
            if strict.is_empty() || level != "ok" {
                assert_eq!(
                    ended.status.code(),
                    Some(status),
                    "{fault} {strict} {doctor}"
                );
            }
        }
    }
}

#[test]
fn a_bench_measures_all_ways() {
    let args = ["bench", "--bytes", "1M", "--rounds", "2"];
    let bench = json(&[&args[..], &["--json"]].concat());
    assert_eq!(
        (&bench["bytes"], &bench["rounds"]),
        (&(1 << 20).into(), &2.into())
    );
    let figures = bench["figures"].as_array().unwrap();
    assert_eq!(figures.len(), 3 * 5 - 1);
    for figure in figures {
        let [least, median, most] =
            ["least", "median", "most"].map(|name| figure[name].as_f64().unwrap());
        assert!(0.0 < least && least <= median && median <= most, "{figure}");
    }
    let shown = Running::new(args).end().with(DONE, "");
    for words in [
        "ring",
        "socket",
        "GB/s,   4K block",
        "us, 64 B and back",
        "in a shell",
    ] {
        assert!(shown.text().contains(words), "{words}: {}", shown.text());
    }
    assert!(
        shown.text().lines().all(|line| line.len() <= 80),
        "{}",
        shown.text()
    );
    let demo = ["demo", "--bytes", "1M", "--rounds", "1"];
    for args in [&["bench", "--bytes", "1M", "--rounds", "1"][..], &demo] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_shmpipe"));
        let narrow = command.args(args).env("COLUMNS", "40").output().unwrap();
        let text = String::from_utf8(narrow.stdout).unwrap();
        assert!(text.lines().count() > 15, "{text}");
        assert!(text.lines().all(|line| line.len() <= 40), "{text}");
    }
    Running::new(["bench", "--rounds", "0"])
        .end()
        .with(USAGE, "from 1 to 100");
}
