//! Removing beside others: who looks at a ring, other users, and rings that this build cannot use.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rustix::process::Signal;
use serde_json::Value;
use shmpipe::sysv::{self, SegmentId};

use crate::common::{Segment, TempPath, bytes_of, is_root, not_run, options, poke};
use crate::running::{DONE, FAILURE, Running, USAGE, until};

/// The state of a segment, as `ls --json` has it. `None` if the segment has gone.
fn state_of(id: SegmentId) -> Option<String> {
    let shown = Running::new(["ls", "--json"]).end().with(DONE, "");
    let list: Value = serde_json::from_str(shown.text()).unwrap();
    let mut rings = list["rings"].as_array().unwrap().iter();
    let ring = rings.find(|ring| ring["id"] == id.raw())?;
    Some(ring["state"].as_str().unwrap().to_owned())
}

/// Found under load: `ls` and `top` attach each ring for a moment, and `rm` then said that the ring
/// was in use.
#[test]
fn a_ring_that_somebody_looks_at_is_removed_once_they_have_looked() {
    for options_of in [&[][..], &["-n"]] {
        for by_id in [false, true] {
            let path = TempPath::new();
            let producer = options().persistent(true).open_producer(&path).unwrap();
            let id = producer.id().unwrap();
            drop(producer);
            let looking = sysv::attach_read_only(id).unwrap();
            let number = id.to_string();
            let target = match by_id {
                true => vec!["--id", &number],
                false => vec![path.to_str().unwrap()],
            };
            let removing = Running::new([&["rm"], &target[..], options_of].concat());
            removing.task().until_asleep();
            drop(looking);
            let said = removing.end().with(DONE, "");
            assert!(said.text().contains("remove"), "{}", said.text());
            let is_there = path.leads_to_a_segment();
            assert_eq!(
                is_there,
                !options_of.is_empty(),
                "{target:?} {options_of:?}"
            );
        }
    }
    // Who stays is told.
    let path = TempPath::new();
    drop(options().persistent(true).open_producer(&path).unwrap());
    let staying = sysv::attach_read_only(path.segment().unwrap()).unwrap();
    for dry in [&[][..], &["-n"]] {
        let said = Running::verb("rm", &path, dry).end();
        said.with(FAILURE, "in use by others");
    }
    drop(staying);
}

/// Found under load: such a ring was said to have a dead sender, and `rm --stale --older-than`
/// left it.
#[test]
fn what_the_dead_left_is_stale_even_if_somebody_looks_at_it() {
    let path = TempPath::new();
    let waiting = Running::verb("send", &path, &[]);
    let id = waiting.ring();
    let _looking = sysv::attach_read_only(id).unwrap();
    waiting.signal(Signal::KILL);
    drop(waiting);
    // Another test may remove it first.
    let state = state_of(id).filter(|_| path.leads_to_a_segment());
    assert!(
        state.as_ref().is_none_or(|state| state == "stale"),
        "{state:?}"
    );
    Running::new(["rm", "--stale", "--older-than", "0"])
        .end()
        .with(DONE, "");
    assert!(!path.leads_to_a_segment());
}

/// `rm` has no way to know what these are, and says what removes them.
#[test]
fn a_ring_of_a_later_version_is_told_how_to_remove() {
    let path = TempPath::new();
    let producer = options().persistent(true).open_producer(&path).unwrap();
    let id = producer.id().unwrap();
    drop(producer);
    let _goes = Segment { id }; // also if the test fails
    for (offset, bytes, state) in [
        (8, 3_u32.to_ne_bytes(), "other version"),
        (24, 3_u32.to_ne_bytes(), "corrupt"),
    ] {
        let good = bytes_of(id)[offset..offset + 4].to_vec();
        poke(id, offset, &bytes);
        assert_eq!(state_of(id).unwrap(), state);
        let hint = format!("(`ipcrm -m {id}` removes it)");
        for args in [
            &["rm", "--id", &id.to_string()][..],
            &["rm", "--id", &id.to_string(), "-f"],
        ] {
            let ended = Running::new(args).end();
            assert!(ended.stderr.contains(&hint), "{}", ended.stderr);
            assert!(path.leads_to_a_segment());
        }
        poke(id, offset, &good);
    }
    // That of an earlier one goes.
    poke(id, 8, &1_u32.to_ne_bytes());
    Running::new(["rm", "--id", &id.to_string()])
        .end()
        .with(DONE, "");
    assert!(!path.leads_to_a_segment());
}

/// A folder of another user with the command in it, which goes with the test.
struct Elsewhere {
    folder: PathBuf,
    user: u32,
}

impl Elsewhere {
    fn new(user: u32) -> Elsewhere {
        let folder = TempPath::new();
        let folder = PathBuf::from(format!("{}-folder", folder.display()));
        fs::create_dir(&folder).unwrap();
        std::os::unix::fs::chown(&folder, Some(user), Some(user)).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        fs::copy(env!("CARGO_BIN_EXE_shmpipe"), folder.join("shmpipe")).unwrap();
        Elsewhere { folder, user }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(self.folder.join("shmpipe"));
        command.args(args).uid(self.user).gid(self.user);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command.stderr(Stdio::piped());
        command
    }

    /// Runs a verb as the user. Another test's fork may hold the copy open for writing.
    fn run(&self, args: &[&str]) -> Output {
        let mut command = self.command(args);
        command.stdin(Stdio::null());
        let child = until("it starts", || command.spawn().ok());
        child.wait_with_output().unwrap()
    }

    fn ring(&self) -> PathBuf {
        self.folder.join("ring")
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        let ring = self.ring();
        let _ = self.command(&["rm", "-f", ring.to_str().unwrap()]).output();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn leads_to_a_segment(path: &Path) -> bool {
    shmpipe::Options::new().snapshot(path).is_ok()
}

/// Root acts for another user, and removes what that user may remove.
#[test]
fn root_removes_the_rings_of_a_user_that_it_names() {
    Running::new(["rm", "--stale", "-o", "no such user"])
        .end()
        .with(USAGE, "no such user");
    if !is_root() {
        return not_run("needs root");
    }
    let other = Elsewhere::new(54323);
    let ring = other.ring();
    let path = ring.to_str().unwrap();
    let keep = || {
        assert!(other.run(&["send", "-p", path]).status.success());
        shmpipe::Options::new()
            .snapshot(path)
            .unwrap()
            .id
            .to_string()
    };
    let id = keep();
    for args in [
        &["rm", path][..],
        &["rm", path, "-n"],
        &["rm", path, "-f"],
        &["rm", "--id", &id],
        &["rm", "--id", &id, "-n"],
    ] {
        Running::new(args).end().with(
            FAILURE,
            &format!("belongs to 54323: `shmpipe rm --owner 54323 --id {id}` removes it"),
        );
    }
    Running::new(["rm", "--id", &id, "-o", "54324"]).end().with(
        FAILURE,
        "belongs to 54323: only 54323 and root can remove it",
    );
    let said = Running::new(["rm", path, "-n", "-o", "54323"]).end();
    assert!(said.with(DONE, "").text().starts_with("would remove"));
    assert!(leads_to_a_segment(&ring));
    Running::new(["rm", path, "-o", "54323"])
        .end()
        .with(DONE, "");
    assert!(!leads_to_a_segment(&ring));
    let id = keep();
    Running::new(["rm", "--id", &id, "--owner", "54323"])
        .end()
        .with(DONE, "");
    assert!(!leads_to_a_segment(&ring));

    // Who is not root removes nobody else's.
    let roots = Segment::new(None, 3 * sysv::page_size(), 0o600);
    let id = roots.id.to_string();
    for (dry, words) in [
        (
            &["rm", "--id", &id][..],
            "belongs to root: only root can remove it",
        ),
        (
            &["rm", "--id", &id, "-n"],
            "only its owner and root can remove it",
        ),
    ] {
        let refused = other.run(dry);
        let said = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), FAILURE, "{said}");
        assert!(said.contains(words), "{said}");
    }
    let refused = other.run(&["rm", "--stale", "-o", "root"]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), FAILURE, "{said}");
    assert!(said.contains("only root can act for root"), "{said}");
    let own = other.run(&["rm", "--stale", "-o", "54323"]);
    assert_eq!(own.status.code(), DONE);
}

/// Found in use: a list told root that `rm --stale` removes what only its owner's does.
#[test]
fn stale_rings_of_others_are_told_apart() {
    if !is_root() {
        return not_run("needs root");
    }
    let other = Elsewhere::new(54325);
    let ring = other.ring();
    let path = ring.to_str().unwrap();
    let mut waiting = other.command(&["send", path]);
    let mut waiting = until("it starts", || waiting.spawn().ok());
    until("it waits", || leads_to_a_segment(&ring).then_some(()));
    waiting.kill().unwrap();
    waiting.wait().unwrap();
    let list = Running::new(["ls"]).end().with(DONE, "");
    let footer = list.text().lines().rev().take(3).collect::<String>();
    assert!(
        footer.contains("left by dead processes: `shmpipe rm --stale --owner USER` removes"),
        "{}",
        list.text()
    );
    for args in [
        &["rm", "--stale", "-n"][..],
        &["rm", "--stale", "--older-than", "0"],
        &["rm", "--stale"],
    ] {
        Running::new(args).end().with(DONE, "");
        assert!(leads_to_a_segment(&ring), "{args:?}");
    }
    let id = shmpipe::Options::new().snapshot(path).unwrap().id;
    let said = Running::new(["rm", "--stale", "--owner", "54325"]).end();
    let said = said.with(DONE, "");
    assert_eq!(said.text(), format!("removed segment {id}\n"));
}
