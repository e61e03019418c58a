//! Looking at rings: `ls`, `stat`, and what `rm` says before it removes.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::Value;
use shmpipe::Snapshot;
use shmpipe::sysv::{self, Mode, SegmentId};

use crate::common::{TempPath, not_run, stream, unique};
use crate::running::{DONE, FAILURE, Running, USAGE, until, until_read};

/// A segment of the tests, removed with the test.
struct Foreign(SegmentId);

impl Foreign {
    fn of(size: usize, mode: u32) -> Foreign {
        Foreign(sysv::create(None, size, Mode::new(mode).unwrap()).unwrap())
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = sysv::remove(self.0);
    }
}

/// A pair that has streamed 5 bytes and waits for more.
pub(crate) fn idle(path: &TempPath) -> (Running, Running, SegmentId) {
    let receiver = Running::unread(["recv".as_ref(), path.as_os_str()]);
    let mut sender = Running::verb("send", path, &["--capacity", "4KiB"]);
    sender.feed(b"12345");
    let ring = sender.paired();
    until_read(ring, 5);
    until("the receiver sleeps", || {
        // It looks up for a moment, ten times a second and more.
        Snapshot::of(ring).unwrap().consumer_sleeps.then_some(())
    });
    (sender, receiver, ring)
}

pub(crate) fn json(args: &[&str]) -> Value {
    let shown = Running::new(args).end().with(DONE, "");
    assert_eq!(shown.text().lines().count(), 1, "{}", shown.text());
    let value: Value = serde_json::from_str(shown.text()).unwrap();
    assert_eq!(
        (&value["version"], &value["verb"]),
        (&1.into(), &args[0].into())
    );
    value
}

pub(crate) fn of_id(list: &Value, id: SegmentId) -> &Value {
    let rings = list["rings"].as_array().unwrap();
    rings.iter().find(|ring| ring["id"] == id.raw()).unwrap()
}

/// The row of `ls` about a segment.
fn row(id: SegmentId, args: &[&str]) -> Option<String> {
    let listed = Running::new([&["ls"], args].concat()).end().with(DONE, "");
    let id = id.to_string();
    let mut lines = listed.text().lines();
    lines
        .find(|line| line.split_whitespace().any(|word| word == id))
        .map(str::to_owned)
}

#[test]
fn a_live_ring_is_listed() {
    let path = TempPath::new();
    let (sender, receiver, ring) = idle(&path);
    // The receiver looks up for a moment, ten times a second. That must not look like a flow.
    let row = self::row(ring, &[]).unwrap();
    for _ in 0..20 {
        let row = self::row(ring, &[]).unwrap();
        assert!(row.contains(" idle "), "{row}");
    }
    for words in [path.to_str().unwrap(), "4K", "[....]   0%", "send > recv"] {
        assert!(row.contains(words), "{words}: {row}");
    }
    let wide = self::row(ring, &["-w", "-b"]).unwrap();
    for words in [
        "4096",
        "8192",
        "0600",
        "receiver",
        &sender.pid().to_string(),
        &receiver.pid().to_string(),
    ] {
        assert!(wide.contains(words), "{words}: {wide}");
    }
    let list = until("the receiver waits", || {
        let list = json(&["ls", "--json"]);
        let waits = of_id(&list, ring)["consumer"]["waits"] == true;
        waits.then_some(list)
    });
    let ring = of_id(&list, ring);
    assert_eq!(
        (&ring["total"], &ring["capacity"]),
        (&5.into(), &4096.into())
    );
    assert_eq!(ring["attached"], 4);
    assert_eq!(ring["consumer"]["pid"], receiver.pid());
    assert_eq!(ring["producer"]["waits"], false);
}

#[test]
fn a_ring_that_is_kept_shows_its_unread_ends() {
    let path = TempPath::new();
    for _ in 0..2 {
        let mut sender = Running::verb("send", &path, &["-p", "-c", "64K"]);
        sender.feed_all(stream(1, 0, 16384));
        sender.end().with(DONE, "");
    }
    let id = shmpipe::Options::new().snapshot(&path).unwrap().id;
    let row = row(id, &[]).unwrap();
    assert!(
        row.contains("kept +2") && row.contains("[##..]  50%"),
        "{row}"
    );
    assert_eq!(of_id(&json(&["ls", "--json"]), id)["unread_ends"], 2);
    let shown = Running::verb("stat", &path, &[]).end().with(DONE, "");
    for words in [
        "unread ends: 2",
        "32768",
        "50%",
        "persistent",
        "not both sides",
    ] {
        assert!(shown.text().contains(words), "{words}: {}", shown.text());
    }
}

/// A list is cut to its width, never wrapped.
#[test]
fn a_list_fits() {
    let path = TempPath::new();
    let (_sender, _receiver, ring) = idle(&path);
    for (columns, words) in [
        ("80", &["idle", "send > recv"][..]),
        ("40", &["idle", "0%"]),
    ] {
        let width: usize = columns.parse().unwrap();
        let name = path.to_str().unwrap();
        let end = &name[name.len() - 5..];
        until("the row of an idle ring", || {
            let mut command = Command::new(env!("CARGO_BIN_EXE_shmpipe"));
            let command = command.arg("ls").env("COLUMNS", columns);
            let listed = command.stdin(Stdio::null()).output().unwrap();
            let text = String::from_utf8(listed.stdout).unwrap();
            let fits = |line: &str| line.chars().count() <= width;
            assert!(text.lines().all(fits), "{text}");
            let row = text.lines().find(|line| line.contains(end));
            row.filter(|row| words.iter().all(|word| row.contains(word)))
                .map(drop)
        });
    }
    let by_fill = Running::new(["ls", "--sort", "fill"]).end().with(DONE, "");
    assert!(by_fill.text().contains(&ring.to_string()));
    Running::new(["ls", "--sort", "colour"])
        .end()
        .with(USAGE, "[possible values: path");
}

/// What is too long for a line of `stat` goes on below itself, and nothing is lost. Characters of
/// two columns count twice.
#[test]
fn a_stat_fits() {
    use unicode_width::UnicodeWidthStr;
    let folder = std::env::temp_dir().join(format!("\u{4e2d}\u{6587}{:016x}", unique()));
    fs::create_dir(&folder).unwrap();
    let path = TempPath::new_in(&folder);
    let mut sender = Running::verb("send", &path, &["-p", "-c", "256K"]);
    sender.feed_all(stream(1, 0, 180_000));
    sender.end().with(DONE, "");
    for columns in [20, 30, 40, 80] {
        for verb in ["stat", "ls"] {
            let mut command = Command::new(env!("CARGO_BIN_EXE_shmpipe"));
            command.arg(verb).env("COLUMNS", columns.to_string());
            if verb == "stat" {
                command.arg(&*path);
            }
            let shown = command.stdin(Stdio::null()).output().unwrap();
            let text = String::from_utf8(shown.stdout).unwrap();
            assert!(text.lines().all(|line| line.width() <= columns), "{text}");
            if verb == "stat" {
                let whole: String = text.split_whitespace().collect();
                for words in [
                    format!("path:{}", path.display()),
                    match columns {
                        20 => "fill:180000[###.]68%".to_owned(),
                        30 => "fill:180000[#######...]68%".to_owned(),
                        _ => "fill:180000[##############......]68%".to_owned(),
                    },
                    "bottleneck:notbothsidesarethere".to_owned(),
                ] {
                    assert!(whole.contains(&words), "{words}: {text}");
                }
                let names = text.lines().filter(|line| !line.starts_with(' '));
                assert!(names.count() >= 15, "{text}");
            }
        }
    }
    let top = ["top", "-b", "-n", "1", "-d", "50ms"];
    for columns in [0, 1, 2, 9, 13, 20, 25, 30, 35, 40] {
        for args in [&["ls"][..], &["ls", "-b"], &["doctor"], &top] {
            let mut command = Command::new(env!("CARGO_BIN_EXE_shmpipe"));
            command.args(args).env("COLUMNS", columns.to_string());
            let shown = command.stdin(Stdio::null()).output().unwrap();
            let said = String::from_utf8_lossy(&shown.stderr);
            assert!(said.is_empty(), "{args:?} {columns}: {said}");
            let text = String::from_utf8(shown.stdout).unwrap();
            assert!(text.lines().count() > 1, "{args:?} {columns}: {text}");
            // In one column, a character of two is one too wide.
            let fits = |line: &str| columns == 0 || line.width() <= columns.max(2);
            assert!(text.lines().all(fits), "{args:?} {columns}:\n{text}");
        }
    }
    drop(path);
    fs::remove_dir(&folder).unwrap();
}

/// Other users' segments are rows, and so is what is no ring, if asked for.
#[test]
fn segments_of_others_are_listed() {
    let page = sysv::page_size();
    let (like_a_ring, other) = (
        Foreign::of(page + (page << 4), 0o600),
        Foreign::of(4 * page, 0o600),
    );
    for (id, all, state) in [
        (like_a_ring.0, "-a", "no ring"), // this user can look inside
        (other.0, "-a", "no ring"),
    ] {
        assert!(row(id, &[]).is_none());
        assert!(row(id, &[all]).unwrap().contains(state));
    }
    if !rustix::process::geteuid().is_root() {
        return not_run("in part: needs root");
    }
    use std::os::unix::process::CommandExt;
    let binary = TempPath::new();
    fs::remove_file(&binary).unwrap();
    fs::copy(env!("CARGO_BIN_EXE_shmpipe"), &*binary).unwrap();
    let mut command = Command::new(&*binary);
    let listed = command
        .arg("ls")
        .uid(54321)
        .gid(54321)
        .stdin(Stdio::null())
        .output();
    let text = String::from_utf8(listed.unwrap().stdout).unwrap();
    let id = like_a_ring.0.to_string();
    let row = text.lines().find(|line| line.contains(&id)).expect(&text);
    assert!(
        row.contains("root") && row.contains("not readable"),
        "{row}"
    );
    assert!(!text.contains(&other.0.to_string()), "{text}");
    assert!(text.contains("cannot be read: only"), "{text}");
}

#[test]
fn a_thousand_segments_of_others_do_not_hide_a_ring() {
    let page = sysv::page_size();
    let foreign: Vec<Foreign> = (0..1000).map(|_| Foreign::of(page, 0o600)).collect();
    let path = TempPath::new();
    let (_sender, _receiver, ring) = idle(&path);
    assert!(row(ring, &[]).unwrap().contains("send > recv"));
    assert!(row(foreign[999].0, &[]).is_none());
}

#[test]
fn stat_finds_a_ring_by_path_id_and_process() {
    let path = TempPath::new();
    let (sender, receiver, ring) = idle(&path);
    let (id, pid) = (ring.to_string(), receiver.pid().to_string());
    for args in [
        &["stat", "--id", &id][..],
        &["stat", "--pid", &pid],
        &["stat", path.to_str().unwrap()],
    ] {
        let shown = Running::new(args).end().with(DONE, "");
        let has = |line: &str| shown.text().lines().any(|shown| shown == line);
        assert!(
            has(&format!("sender:      process {} (send)", sender.pid())),
            "{}",
            shown.text()
        );
        assert!(
            has("rate:        0/s") && has("total:       5 (5)"),
            "{}",
            shown.text()
        );
        assert!(
            has("bottleneck:  nothing is sent: the receiver waits for bytes"),
            "{}",
            shown.text()
        );
    }
    let shown = json(&["stat", "--id", &id, "--json"]);
    let shown = of_id(&shown, ring);
    assert_eq!(shown["rate"], 0.0);
    assert!(shown["consumer_waits"].as_f64().unwrap() > 0.5);
    Running::new(["stat", "--pid", "1"])
        .end()
        .with(FAILURE, "has no ring");
    Running::new(["stat", "--id", "2147483647"])
        .end()
        .with(FAILURE, "no segment");
    Running::new(["stat"]).end().with(USAGE, "--pid");
    let none = TempPath::new();
    Running::verb("stat", &none, &[])
        .end()
        .with(FAILURE, "no ring at");
}

/// Its other end writes to nobody, so the sender waits.
#[test]
fn stat_says_who_is_the_bottleneck() {
    let path = TempPath::new();
    let receiver = Running::unread(["recv".as_ref(), path.as_os_str()]);
    let mut sender = Running::verb("send", &path, &["--capacity", "4KiB"]);
    sender.feed_all(vec![7; 4 << 20]);
    let ring = sender.paired();
    crate::running::until_stuck(ring, &sender, &receiver);
    let shown = Running::new(["stat", "--id", &ring.to_string()])
        .end()
        .with(DONE, "");
    for words in ["state:       full", "bottleneck:  the receiver", "100%"] {
        assert!(shown.text().contains(words), "{words}: {}", shown.text());
    }
}

#[test]
fn rm_says_what_it_would_remove_and_by_whom_a_ring_is_in_use() {
    let path = TempPath::new();
    let waiting = Running::verb("send", &path, &["--persist"]);
    let id = waiting.ring().to_string();
    let by = format!("process {} (send)", waiting.pid());
    for args in [
        &["rm", "--id", &id, "-n"][..],
        &["rm", path.to_str().unwrap(), "--dry-run"],
    ] {
        Running::new(args).end().with(FAILURE, &by);
        let forced = [args, &["--force"]].concat();
        let said = Running::new(&forced).end().with(DONE, "");
        assert!(
            said.text().contains("would remove") && said.text().contains(&by),
            "{}",
            said.text()
        );
    }
    Running::verb("rm", &path, &[])
        .end()
        .with(FAILURE, &format!("{by} (--force removes it)"));
    waiting.signal(rustix::process::Signal::KILL);
    drop(waiting);
    let said = Running::verb("rm", &path, &["-n"]).end().with(DONE, "");
    assert!(
        said.text().starts_with("would remove the ring of"),
        "{}",
        said.text()
    );
    assert!(path.leads_to_a_segment());
}

/// Found in use: of a pair, whose ring no key leads to, `rm` said that there was no ring.
#[test]
fn rm_of_a_pair_says_that_it_is_in_use() {
    let path = TempPath::new();
    let (sender, _receiver, _) = idle(&path);
    let by = format!("process {} (send)", sender.pid());
    for args in [&[][..], &["-n"], &["-f"]] {
        Running::verb("rm", &path, args).end().with(FAILURE, &by);
    }
}

/// Found in use: `rm --stale` removed what `rm --stale -n` had not told.
#[test]
fn a_dry_run_tells_of_what_a_creator_left_empty() {
    let size = 2 * sysv::page_size();
    let mut make = Command::new("ipcmk");
    make.args(["-p", "0600", "-M", &size.to_string()]);
    let Ok(made) = make.output() else {
        return not_run("there is no ipcmk");
    };
    let said = String::from_utf8(made.stdout).unwrap();
    let id = said.rsplit(' ').next().unwrap().trim();
    let _segment = Foreign(id.parse().unwrap());
    let line = format!("would remove segment {id} (if it is all zero");
    // Who looks at it has it attached for a moment. Another run of the tests may remove it.
    until("it is told", || {
        let said = Running::new(["rm", "--stale", "-n"]).end().with(DONE, "");
        let is_gone = || sysv::stat(id.parse().unwrap()).is_err();
        (said.text().contains(&line) || is_gone()).then_some(())
    });
    let young = Running::new(["rm", "--stale", "--older-than", "1h"]);
    assert!(
        !young
            .end()
            .with(DONE, "")
            .text()
            .contains(&format!(" {id}\n"))
    );
    until("it is removed", || {
        Running::new(["rm", "--stale", "--older-than", "0"]).end();
        sysv::stat(id.parse().unwrap()).err()
    });
}

#[test]
fn stale_rings_are_told_and_the_young_are_spared() {
    let path = TempPath::new();
    let waiting = Running::verb("send", &path, &[]);
    let id = waiting.ring();
    waiting.signal(rustix::process::Signal::KILL);
    drop(waiting);
    let said = Running::new(["rm", "--stale", "-n"]).end().with(DONE, "");
    let line = format!("would remove segment {id} (");
    // Another run of the tests may have been faster.
    if path.leads_to_a_segment() {
        assert!(said.text().contains(&line), "{}", said.text());
        let list = json(&["ls", "--json"]);
        let mut rings = list["rings"].as_array().unwrap().iter();
        let ring = rings.find(|ring| ring["id"] == id.raw());
        assert!(ring.is_none_or(|ring| ring["state"] == "stale"), "{ring:?}");
    }
    let young = Running::new(["rm", "--stale", "--older-than", "1h"])
        .end()
        .with(DONE, "");
    assert!(!young.text().contains(&id.to_string()), "{}", young.text());
    let gone = Running::new(["rm", "--stale", "--older-than", "0"]).end();
    assert_eq!(gone.status.code(), DONE, "{}", gone.stderr);
    assert!(!path.leads_to_a_segment());
    Running::new(["rm", "/x", "--older-than", "1h"])
        .end()
        .with(USAGE, "cannot be used with");
}
