//! Each peer makes of the golden vectors what the library makes of them.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;

use crate::common::TempPath;
use crate::languages::{Rust, command, languages};
use crate::probes::Subject;

pub(crate) fn vectors() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/format.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Questions to a peer, each with the right answer.
pub(crate) fn questions() -> Vec<(String, String)> {
    let all = vectors();
    let list = |name: &str| all[name].as_array().unwrap().clone();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut questions = vec![];
    for owner in list("owners") {
        let number = |name: &str| format!("{:#x}", owner[name].as_u64().unwrap());
        let (pid, space, generation) =
            (number("pid"), number("pid_namespace"), number("generation"));
        let question = format!("owner {pid} {space} {} {generation}", text(&owner["start"]));
        questions.push((question, text(&owner["word"])));
    }
    for closed in list("closed") {
        questions.push((
            format!("closed {}", text(&closed["word"])),
            text(&closed["how"]),
        ));
    }
    for ending in list("endings") {
        let answer = format!("{} {}", text(&ending["how"]), ending["pid"]);
        questions.push((format!("ending {}", text(&ending["word"])), answer));
    }
    for event in list("transitions") {
        let (kind, before, name) = (
            text(&event["kind"]),
            text(&event["before"]),
            text(&event["event"]),
        );
        let words: Vec<&str> = name.split(' ').collect();
        let what = match words[..] {
            ["claim", role] => format!("claim {kind} {role} {before}"),
            ["claim", role, ..] => format!("claim-dead {kind} {role} {before}"),
            ["leave", role] => format!("leave {kind} {role} {before}"),
            _ => continue, // the peers have no function for these
        };
        let after = event["after"].as_str().map(str::to_owned);
        let is_gone = !matches!(u64::from_str_radix(&before[2..], 16).unwrap() & 0xff, 1 | 2);
        let refused = if is_gone { "gone" } else { "taken" };
        questions.push((what, after.unwrap_or_else(|| refused.to_owned())));
    }
    for header in list("headers") {
        let words = header["words"].as_array().unwrap().iter().map(|word| {
            let digits = word[1].as_str().unwrap();
            let swapped = u64::from_str_radix(digits, 16).unwrap().swap_bytes();
            format!(" {}:{swapped:#x}", word[0])
        });
        let words: String = words.collect();
        questions.push((format!("header{words}"), text(&header["read"])));
    }
    for (name, value) in constants(&all["constants"]) {
        questions.push((format!("constant {name}"), value.to_string()));
    }
    questions.extend(more());
    questions
}

/// The constants of the vectors, by the names that the peers have for them.
fn constants(all: &Value) -> Vec<(String, u64)> {
    let plain = [
        "version",
        "byte_order",
        "line",
        "marks",
        "first_mark",
        "ring",
    ];
    let mut found: Vec<(String, u64)> = plain
        .iter()
        .map(|&name| (name.to_owned(), all[name].as_u64().unwrap()))
        .collect();
    found.push(("at_state".to_owned(), all["state"].as_u64().unwrap()));
    let of_side = [
        "owner",
        "complete",
        "start",
        "pid_namespace",
        "time_namespace",
        "views",
    ];
    let more = [
        "capabilities",
        "position",
        "closed",
        "sleeping",
        "wanted",
        "claims",
    ];
    for role in ["producer", "consumer"] {
        for name in of_side.into_iter().chain(more) {
            let value = all[role][name].as_u64().unwrap();
            found.push((format!("{role}_{name}"), value));
        }
    }
    for name in ["hint", "places"] {
        found.push((
            format!("consumer_{name}"),
            all["consumer"][name].as_u64().unwrap(),
        ));
    }
    found
}

/// Questions that the vectors lack: keys, with the answers of ftok(3), and an end that is none.
fn more() -> Vec<(String, String)> {
    let keys = [
        ("1 0x801 0x12345", 0x0101_2345_u32),
        ("0xff 0xabcdff 0xfffffff", 0xffff_ffff),
        ("0x2a 0x80 0x8000", 0x2a80_8000),
    ];
    let keys = keys.map(|(of, key)| (format!("key {of}"), format!("{key:#010x}")));
    let mut more = keys.to_vec();
    more.push(("closed 0x181".to_owned(), "corrupt".to_owned()));
    more
}

/// What a peer makes of each question, in order; fewer answers if it ends before.
fn answers(mut command: std::process::Command, questions: &[(String, String)]) -> Vec<String> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    // All fit into the two pipes.
    let asked: Vec<&str> = questions
        .iter()
        .map(|(question, _)| question.as_str())
        .collect();
    let _ = writeln!(input, "{}", asked.join("\n")); // a mutant may have ended
    drop(input);
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let lines = lines.map_while(Result::ok).collect();
    child.wait().unwrap();
    lines
}

/// Whether a peer answers all questions but those about its numbers, as the library does.
pub(crate) fn agrees(peer: &Subject) -> bool {
    let mut questions = questions();
    questions.retain(|(question, _)| !question.starts_with("constant"));
    let expected = questions.iter().map(|(_, answer)| answer);
    answers(peer.command("vectors"), &questions)
        .iter()
        .eq(expected)
}

#[test]
fn each_peer_agrees_with_the_golden_vectors() {
    let questions = questions();
    assert!(questions.len() > 100, "{}", questions.len());
    for language in languages().into_iter().filter(|&language| language != Rust) {
        let answers = answers(command(language, "vectors"), &questions);
        assert_eq!(answers.len(), questions.len(), "{language:?}");
        for ((question, expected), answer) in questions.iter().zip(&answers) {
            assert_eq!(answer, expected, "{language:?}: {question}");
        }
    }
}

#[test]
fn the_keys_are_those_of_the_library() {
    let path = TempPath::new();
    let file = std::fs::metadata(&path).unwrap();
    let question = format!("key 1 {:#x} {:#x}", file.dev(), file.ino());
    let key = format!("{:#010x}", path.key().raw());
    for language in languages().into_iter().filter(|&language| language != Rust) {
        let asked = [(question.clone(), key.clone())];
        let answers = answers(command(language, "vectors"), &asked);
        assert_eq!(answers, [key.as_str()], "{language:?}");
    }
}
