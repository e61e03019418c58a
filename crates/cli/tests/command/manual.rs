//! Help, wrong words, completions and man pages.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::common::TempPath;
use crate::running::{DONE, Ended, FAILURE, Running, TIMED_OUT, USAGE};

fn run(args: &[&str]) -> Ended {
    Running::new(args).end()
}

#[test]
fn a_wrong_word_gets_a_suggestion() {
    run(&["sned"]).with(USAGE, "a similar subcommand exists: 'send'");
    run(&["send", "--capcity", "4K", "/x"]).with(USAGE, "a similar argument exists: '--capacity'");
    run(&["ls", "--sort", "fil"]).with(USAGE, "a similar value exists: 'fill'");
    run(&["help", "recieve"]).with(USAGE, "a similar value exists: 'recv'");
}

/// Found in use: an option that was also in an alias of the shell was refused.
#[test]
fn the_last_of_an_option_counts() {
    let path = TempPath::new();
    let path = path.to_str().unwrap();
    for args in [
        &["recv", path, "-t", "1h", "-t", "1ms"][..],
        &[
            "recv",
            path,
            "-q",
            "-t1ms",
            "-q",
            "-c",
            "8K",
            "--capacity=4K",
        ],
    ] {
        run(args).with(TIMED_OUT, "");
    }
    let shown = run(&["top", "-b", "-n", "3", "-bd1h", "-d", "50ms", "-n", "1"]).with(DONE, "");
    assert_eq!(shown.text().matches("by rate").count(), 1);
    run(&["ls", "-a", "-a", "--sort", "path", "-s", "id"]).with(DONE, "");
    // To name two rings is a mistake.
    run(&["rm", "--id", "1", "--id", "2"]).with(USAGE, "multiple times");
    run(&["stat", "--pid", "1", "--pid", "2"]).with(USAGE, "multiple times");
}

/// Found in use: `-1` was called an unexpected argument.
#[test]
fn a_number_below_zero_is_a_wrong_value() {
    for (args, words) in [
        (&["send", "x", "-c", "-1"][..], "expected bytes"),
        (&["send", "x", "-t", "-1s"], "expected a time"),
        (&["send", "x", "-m", "-660"], "expected permission bits"),
        (
            &["recv", "x", "--project", "-1"],
            "a whole number from 1 to 255",
        ),
        (&["top", "-n", "-1"], "a whole number of at least 1"),
        (&["top", "-n", "1.5"], "a whole number of at least 1"),
        (&["stat", "--id", "-1"], "a segment id is a number"),
        (&["stat", "--pid", "-1"], "a whole number of at least 1"),
        (&["bench", "--rounds", "-1"], "a whole number from 1 to 100"),
        (&["rm", "--stale", "--older-than", "-1"], "expected a time"),
        (&["demo", "--seed", "-1"], "a whole number of at least 0"),
    ] {
        let value = args.last().unwrap();
        let ended = run(args).with(USAGE, words);
        let wrong = format!("invalid value '{value}'");
        assert!(ended.stderr.contains(&wrong), "{}", ended.stderr);
    }
}

/// A bare call, `help` and `-h` are short; `--help` is long. Lines are no wider than a terminal.
#[test]
fn help_comes_short_and_long() {
    let short = run(&["help"]).with(DONE, "");
    assert!(
        short.text().contains("Usage: shmpipe <COMMAND>") && !short.text().contains("Exit codes")
    );
    assert_eq!(run(&["-h"]).with(DONE, "").text(), short.text());
    let bare = run(&[]);
    assert_eq!((bare.status.code(), bare.text()), (USAGE, ""));
    assert_eq!(bare.stderr, short.text());
    let verbs = short
        .text()
        .lines()
        .filter_map(|line| line.strip_prefix("  "));
    let verbs = verbs.take_while(|line| !line.starts_with('-'));
    let verbs: Vec<&str> = verbs
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(verbs.len() >= 10, "{verbs:?}");
    for verb in verbs {
        let short = run(&[verb, "-h"]).with(DONE, "");
        assert_eq!(run(&["help", verb]).with(DONE, "").text(), short.text());
        let long = run(&[verb, "--help"]).with(DONE, "");
        for text in [&short, &long] {
            let widest = text.text().lines().map(|line| line.chars().count()).max();
            assert!(widest <= Some(100), "{verb}: {widest:?} {}", text.text());
        }
        if verb != "help" {
            assert!(
                long.text().contains("Examples:\n  shmpipe") || verb == "send",
                "{verb}"
            );
            assert!(long.text().contains("Exit codes:") && !short.text().contains("Exit codes:"));
        }
    }
}

/// Found on a narrow screen: lines were divided twice, and what an example says looked like a
/// command.
#[test]
fn a_long_help_fits_a_narrow_screen() {
    for verb in [
        "send", "recv", "run", "ls", "stat", "top", "rm", "doctor", "bench", "demo",
    ] {
        let long = run(&[verb, "--help"]).with(DONE, "");
        let (_, examples) = long.text().split_once("Examples:\n").unwrap();
        let examples = examples.lines().take_while(|line| !line.is_empty());
        for (_, says) in examples.filter_map(|line| line.trim().split_once("    ")) {
            assert!(says.trim().starts_with("# "), "{verb}: {says}");
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_shmpipe"));
        let narrow = command.args([verb, "--help"]).env("COLUMNS", "40").output();
        let narrow = String::from_utf8(narrow.unwrap().stdout).unwrap();
        // clap does not divide the usage.
        let fits = |line: &str| line.len() <= 40 || line.starts_with("Usage: ");
        assert!(narrow.lines().all(fits), "{narrow}");
        // Each line of the last paragraph is full.
        let (_, after) = narrow.split_once("\nAfter SIGINT").unwrap();
        let lines: Vec<&str> = after.trim_end().lines().collect();
        assert!(lines.len() > 6, "{after}");
        for pair in lines.windows(2).skip(1) {
            let next = pair[1].split(' ').next().unwrap();
            assert!(pair[0].len() + 1 + next.len() > 40, "{verb}: {pair:?}");
        }
    }
}

/// The folder of what is shipped.
fn shipped(folder: &str) -> Box<Path> {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).into()
}

/// What is shipped is what the command makes. `SHMPIPE_SHIP=1` writes it.
#[test]
fn completions_and_man_pages_are_those_that_are_shipped() {
    let writes = std::env::var_os("SHMPIPE_SHIP").is_some();
    let mut made = Vec::new();
    for (shell, name) in [
        ("bash", "shmpipe.bash"),
        ("zsh", "_shmpipe"),
        ("fish", "shmpipe.fish"),
    ] {
        let text = run(&["completions", shell]).with(DONE, "").stdout;
        made.push((shipped("completions").join(name), text));
    }
    let folder = TempPath::new();
    fs::remove_file(&folder).unwrap();
    run(&["man", folder.to_str().unwrap()]).with(DONE, "");
    for page in fs::read_dir(&*folder).unwrap() {
        let page = page.unwrap();
        made.push((
            shipped("man").join(page.file_name()),
            fs::read(page.path()).unwrap(),
        ));
    }
    fs::remove_dir_all(&*folder).unwrap();
    assert!(made.len() > 10);
    for (path, text) in made {
        // Found in use: without a date, the version stood in its place.
        if path.extension().is_some_and(|extension| extension == "1") {
            let name = path.file_stem().unwrap().to_str().unwrap();
            let version = env!("CARGO_PKG_VERSION");
            let title = format!(".TH {name} 1 \"\" \"shmpipe {version}\" \"User Commands\"\n");
            let text = String::from_utf8_lossy(&text);
            assert!(text.contains(&title), "{text}");
        }
        if writes {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, &text).unwrap();
        }
        let found = fs::read(&path).unwrap_or_default();
        assert!(
            found == text,
            "{}: run this test with SHMPIPE_SHIP=1",
            path.display()
        );
    }
    run(&["completions", "tcl"]).with(USAGE, "possible values: bash");
    run(&["man", "/proc/none"]).with(FAILURE, "/proc/none");
}
