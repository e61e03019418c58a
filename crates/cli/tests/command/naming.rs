//! Which ring a path and a project id name, for the verbs that look and remove.

use crate::common::TempPath;
use crate::look::json;
use crate::running::{DONE, FAILURE, Running};

/// Found in use: `stat --project 3` showed the ring of project 1, and `ls` had several rows with one
/// path.
#[test]
fn rings_of_one_path_are_told_apart() {
    let path = TempPath::new();
    for (project, bytes) in [("1", &b"12345"[..]), ("2", b"123")] {
        let options = ["-p", "-c", "4K", "--project", project];
        let mut sender = Running::verb("send", &path, &options);
        sender.feed_all(bytes.to_vec());
        sender.end().with(DONE, "");
    }
    let second = path.display().to_string() + "#2";
    for (project, name, total) in [("1", path.to_str().unwrap(), 5), ("2", &second, 3)] {
        let args = ["stat", path.to_str().unwrap(), "--project", project];
        let shown = Running::new(args).end().with(DONE, "");
        for line in [
            format!("path:        {name}"),
            format!("total:       {total} ({total})"),
        ] {
            let has_line = shown.text().lines().any(|shown| shown == line);
            assert!(has_line, "{line}: {}", shown.text());
        }
        let listed = Running::new(["ls"]).end().with(DONE, "");
        let is_row = |line: &&str| line.split_whitespace().next() == Some(name);
        assert_eq!(listed.text().lines().filter(is_row).count(), 1);
    }
    let list = json(&["ls", "--json"]);
    let rings = list["rings"].as_array().unwrap().iter();
    let of_path = rings.filter(|ring| ring["path"] == path.to_str().unwrap());
    let mut projects: Vec<u64> = of_path
        .map(|ring| ring["project"].as_u64().unwrap())
        .collect();
    projects.sort();
    assert_eq!(projects, [1, 2]);
    let third = ["--project", "3"];
    for verb in ["stat", "rm"] {
        let ended = Running::verb(verb, &path, &third).end();
        ended.with(FAILURE, "with project id 3");
    }
    // Nor is a pair of another project theirs.
    let receiver = Running::unread([
        "recv".as_ref(),
        path.as_os_str(),
        "--project".as_ref(),
        "4".as_ref(),
    ]);
    let sender = Running::verb("send", &path, &["--project", "4"]);
    sender.paired();
    for verb in ["stat", "rm"] {
        let ended = Running::verb(verb, &path, &third).end();
        ended.with(FAILURE, "no ring at");
        let fourth = Running::verb(verb, &path, &["--project", "4"]).end();
        match verb {
            "stat" => fourth.with(DONE, ""),
            _ => fourth.with(FAILURE, "in use by the sender"),
        };
    }
    drop((receiver, sender));
    let removed = Running::verb("rm", &path, &["--project", "2"])
        .end()
        .with(DONE, "");
    assert!(
        removed.text().contains("with project id 2"),
        "{}",
        removed.text()
    );
}

/// Found in use: who asked for a ring whose file was missing was told to make the file.
#[test]
fn a_missing_file_is_said_to_be_missing() {
    let path = TempPath::new();
    let mut sender = Running::verb("send", &path, &["-p"]);
    sender.feed_all(b"kept".to_vec());
    sender.end().with(DONE, "");
    let id = path.segment().unwrap();
    let missing = path.with_extension("missing");
    path.remove_file_while(|| {
        for (args, words) in [
            (&[][..], format!("`shmpipe rm --id {id}` removes it")),
            (&["-n"], format!("`shmpipe rm --id {id}` removes it")),
        ] {
            Running::verb("rm", &path, args).end().with(FAILURE, &words);
        }
        let shown = Running::verb("stat", &path, &[]).end().with(DONE, "");
        assert!(
            shown.text().contains("total:       4 (4)"),
            "{}",
            shown.text()
        );
    });
    for verb in ["stat", "rm"] {
        let ended = Running::verb(verb, &missing, &[]).end();
        let ended = ended.with(FAILURE, "there is no such file");
        assert!(!ended.stderr.contains("make it"), "{}", ended.stderr);
        let ended = Running::verb(verb, &missing.join("x"), &[]).end();
        ended.with(FAILURE, "there is no folder");
    }
    Running::verb("send", &missing.join("x"), &[])
        .end()
        .with(FAILURE, "there is no folder");
    Running::new(["rm", "--id", &id.to_string()])
        .end()
        .with(DONE, "");
}

/// Found in use: a ring that had gone meanwhile was shown as if it were there.
#[test]
fn a_ring_that_goes_meanwhile_is_said_to_have_gone() {
    for args in [&[][..], &["--json"]] {
        let path = TempPath::new();
        let mut sender = Running::verb("send", &path, &["-p"]);
        sender.feed_all(b"kept".to_vec());
        sender.end().with(DONE, "");
        let looking = Running::verb("stat", &path, args);
        looking.task().until_asleep(); // between two looks
        Running::verb("rm", &path, &[]).end().with(DONE, "");
        let shown = looking.end().with(DONE, "");
        let words: &[&str] = match args {
            [] => &[
                "state:       gone\n",
                "total:       4 (4)\n",
                "bottleneck:  the ring has gone",
            ],
            _ => &[r#""state":"gone""#, r#""total":4"#],
        };
        for words in words {
            assert!(shown.text().contains(words), "{words}: {}", shown.text());
        }
    }
}
