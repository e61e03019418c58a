//! The documents are held against what they speak of: tests, commands, files,
//! figures, exit codes, the layout.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::{files_below, root};

#[track_caller]
fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every document, by its path.
fn documents() -> Vec<(PathBuf, String)> {
    let guide = fs::read_dir(root().join("src/guide")).unwrap();
    let pages = guide.map(|entry| PathBuf::from("src/guide").join(entry.unwrap().file_name()));
    let mut paths: Vec<PathBuf> = pages
        .filter(|path| path.extension().unwrap() == "md")
        .collect();
    assert!(paths.len() > 8, "{paths:?}");
    paths.extend(
        [
            "README.md",
            "CONTRIBUTING.md",
            "SECURITY.md",
            "CHANGELOG.md",
        ]
        .map(Into::into),
    );
    paths.sort();
    let read = |path: PathBuf| (path.clone(), text(path.to_str().unwrap()));
    paths.into_iter().map(read).collect()
}

/// A package from a registry has neither `.ci`, nor the command, nor the charts.
fn is_checkout(test: &str) -> bool {
    let is = root().join(".ci").exists();
    if !is {
        println!("{test}: not run: this is a package, without .ci, crates and benches/charts");
    }
    is
}

#[test]
fn every_test_that_a_document_names_exists() {
    for (path, document) in documents() {
        let paths = document.split('`').filter(|text| {
            let top = text.split_once('/').map(|(top, _)| top);
            ["tests", "src", "crates", ".ci"].map(Some).contains(&top)
        });
        for quoted in paths {
            let (file, test) = match quoted.split_once(": ") {
                Some((file, test)) => (file, Some(test)),
                None => (quoted.split(' ').next().unwrap(), None),
            };
            let is_packed = !file.starts_with(".ci/") && !file.starts_with("crates/");
            if !is_packed && !root().join(".ci").exists() {
                continue;
            }
            assert!(root().join(file).exists(), "{}: {quoted}", path.display());
            if let Some(test) = test {
                let defined = text(file).contains(&format!("fn {test}()"));
                assert!(defined, "{}: {quoted}", path.display());
            }
        }
    }
}

#[test]
fn every_test_binary_is_in_the_strategy() {
    let page = text("src/guide/testing.md");
    let is_named = |path: &Path| {
        let path = path.strip_prefix(root()).unwrap();
        page.contains(&format!("`{}`", path.display()))
    };
    let mut folders = vec!["tests"];
    if root().join(".ci").exists() {
        folders.push("crates/cli/tests"); // not in the library's package
    }
    let entries = folders
        .iter()
        .flat_map(|folder| fs::read_dir(root().join(folder)).unwrap());
    for entry in entries {
        let path = entry.unwrap().path();
        let is_folder = path.join("main.rs").exists();
        let is_binary = path.extension().is_some() || is_folder;
        if !is_binary || is_named(&path) {
            continue;
        }
        // A folder counts as named when each of its files with tests is.
        assert!(is_folder, "{}", path.display());
        let mut parts = 0;
        for part in fs::read_dir(&path).unwrap() {
            let part = part.unwrap().path();
            let folder = part.with_extension(""); // with the modules of the file
            let has_tests = part.is_file()
                && (folder.is_dir() || fs::read_to_string(&part).unwrap().contains("#[test]"));
            let named = is_named(&part) || is_named(&folder);
            assert!(!has_tests || named, "{}", part.display());
            parts += u32::from(has_tests);
        }
        assert!(parts > 1, "{}", path.display());
    }
}

#[test]
fn every_failure_has_its_test() {
    let page = text("src/guide/failures.md");
    let (_, table) = page.split_once("| left behind | test |").unwrap();
    let (table, _) = table.split_once("\n\n").unwrap();
    let rows: Vec<&str> = table.lines().skip(2).collect();
    assert!(rows.len() > 30, "{} rows", rows.len());
    for row in rows {
        let test = row.rsplit('|').nth(1).unwrap().trim();
        assert!(
            test.starts_with("`tests/") && test.contains(".rs: "),
            "{row}"
        );
    }
}

/// The commands of the project, by name.
fn commands() -> Vec<(String, String)> {
    let commands = text(".ci/commands");
    let lines = commands
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let split = |line: &str| {
        let (name, command) = line.split_once(": ").expect(line);
        (name.to_string(), command.to_string())
    };
    lines.map(split).collect()
}

/// The lines of the shell that a document shows, without their comments.
fn shown(document: &str) -> Vec<String> {
    let blocks = document.split("```sh\n").skip(1);
    let lines = blocks.flat_map(|block| block.split("```").next().unwrap().lines());
    let bare = lines.map(|line| line.split(" #").next().unwrap().trim().to_string());
    bare.filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect()
}

#[test]
fn the_two_commands_are_those_that_are_checked() {
    if !is_checkout("the_two_commands_are_those_that_are_checked") {
        return;
    }
    let commands = commands();
    let command = |name: &str| &commands.iter().find(|(known, _)| known == name).unwrap().1;
    let readme = text("README.md");
    let (_, section) = readme.split_once("## Demo and tests").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    assert_eq!(
        &shown(section),
        &[command("demo").clone(), command("test").clone()]
    );
    let testing = shown(&text("src/guide/testing.md"));
    for name in ["test", "loom", "run", "fuzz"] {
        assert!(
            testing.contains(command(name)),
            "testing.md does not show {name}"
        );
    }
}

#[test]
fn every_step_that_is_named_exists() {
    if !is_checkout("every_step_that_is_named_exists") {
        return;
    }
    let names: Vec<String> = commands().into_iter().map(|(name, _)| name).collect();
    let unique: BTreeSet<&String> = names.iter().collect();
    assert_eq!(unique.len(), names.len(), "a name is there twice");
    for (path, document) in documents() {
        for task in document.split("`.ci/task ").skip(1) {
            let name = task.split(['`', ' ']).next().unwrap();
            let exists = name == "NAME" || unique.contains(&name.to_string());
            assert!(exists, "{}: .ci/task {name}", path.display());
        }
    }
}

#[test]
fn every_test_that_is_left_out_exists_and_has_a_reason() {
    if !is_checkout("every_test_that_is_left_out_exists_and_has_a_reason") {
        return;
    }
    let all: String = ["src", "tests", "crates"]
        .iter()
        .flat_map(|folder| files_below(&root().join(folder), &["rs"]))
        .map(|file| fs::read_to_string(file).unwrap())
        .collect();
    let list = text(".ci/tests-left-out");
    let lines: Vec<&str> = list.lines().filter(|line| !line.starts_with('#')).collect();
    assert!(!lines.is_empty());
    for line in lines {
        let fields: Vec<&str> = line.split(" | ").collect();
        let [name, places, why] = fields[..] else {
            panic!("{line}");
        };
        let exists = match name.strip_suffix("::") {
            Some(modules) => {
                let mut modules = modules.split("::");
                modules.all(|module| all.contains(&format!("mod {module};")))
            }
            None => all.contains(&format!("fn {name}()")),
        };
        assert!(exists, "{line}");
        let known = |place: &str| ["emulation", "AddressSanitizer", "Miri"].contains(&place);
        assert!(places.split(", ").all(known) && !why.is_empty(), "{line}");
    }
}

#[test]
fn every_link_leads_to_a_file() {
    let labels = text("src/guide/links.txt");
    let labels: Vec<&str> = labels
        .lines()
        .map(|line| &line[..=line.find(']').unwrap()])
        .collect();
    for (path, document) in documents() {
        let folder = root().join(&path).parent().unwrap().to_path_buf();
        let inline = document
            .split("](")
            .skip(1)
            .map(|rest| rest.split(')').next().unwrap());
        let defined = document.lines().filter(|line| line.starts_with('['));
        let defined = defined
            .filter_map(|line| line.split_once("]: "))
            .map(|(_, target)| target);
        for target in inline.chain(defined) {
            let file = target.split('#').next().unwrap();
            let is_packed = !file.contains("benches/charts") || root().join(".ci").exists();
            if !target.contains("://") && !file.is_empty() && is_packed {
                assert!(folder.join(file).exists(), "{}: {target}", path.display());
            }
        }
        if path.starts_with("src/guide") {
            for label in labels
                .iter()
                .filter(|label| document.to_lowercase().contains(*label))
            {
                let definition = format!("\n{label}: ");
                assert!(
                    document.contains(&definition),
                    "{}: {label}",
                    path.display()
                );
            }
        }
    }
}

#[test]
fn rustdoc_has_the_charts_of_the_page() {
    if !is_checkout("rustdoc_has_the_charts_of_the_page") {
        return;
    }
    let embedded = text("src/guide/charts.txt");
    let page = text("src/guide/performance.md");
    let mut charts = 0;
    for line in embedded.lines() {
        let (label, uri) = line.split_once(": <data:image/svg+xml,").unwrap();
        assert!(page.contains(&format!("]{label}")), "{label}");
        let name = label.trim_start_matches("[chart-").trim_end_matches(']');
        let svg = text(&format!("benches/charts/{name}.svg"));
        let drawn = uri.trim_end_matches('>');
        let drawn = drawn
            .replace("%3C", "<")
            .replace("%3E", ">")
            .replace("%23", "#");
        assert_eq!(
            drawn.replace("%25", "%"),
            svg.trim().replace('\n', " "),
            "{label}"
        );
        charts += 1;
    }
    assert_eq!(page.matches("![").count(), charts);
}

#[test]
fn the_figure_of_the_readme_is_that_of_the_page() {
    let page = text("src/guide/performance.md");
    let (_, table) = page.split_once("### Throughput by block, GB/s").unwrap();
    let cell = |who: &str| -> f64 {
        let row = table
            .lines()
            .find(|line| line.starts_with(&format!("| {who} |")))
            .unwrap();
        let cell = row.split('|').nth(4).unwrap(); // 64 B, 1 KiB, 4 KiB
        cell.split_whitespace().next().unwrap().parse().unwrap()
    };
    let figures = format!(
        "4 KiB blocks at {:.0} GB/s, where a pipe moves {:.1} GB/s",
        cell("**shmpipe**"),
        cell("pipe")
    );
    assert!(text("README.md").contains(&figures), "not: {figures}");
}

#[test]
fn the_readme_is_one_page() {
    let readme = text("README.md");
    let (lines, bytes) = (readme.lines().count(), readme.len());
    assert!(
        lines <= 220 && bytes <= 11 << 10,
        "{lines} lines, {bytes} bytes"
    );
}

#[test]
fn the_layout_has_no_gap_in_its_words_and_no_overlap() {
    let page = text("src/guide/format.md");
    let (_, table) = page
        .split_once("| offset | bytes | word | written by |")
        .unwrap();
    let (table, _) = table.split_once("\n\n").unwrap();
    let mut end = 0;
    let mut words = 0;
    for row in table.lines().skip(2) {
        let fields: Vec<&str> = row.split('|').map(str::trim).collect();
        let offsets = fields[1]
            .split(", ")
            .map(|one| one.parse::<u64>().expect(row));
        let sizes: Vec<&str> = fields[2].split(", ").collect();
        for (offset, size) in offsets.zip(sizes) {
            assert!(offset >= end, "{row}");
            let bytes = if size == "capacity" {
                1
            } else {
                size.parse().expect(row)
            };
            end = offset + bytes;
            words += 1;
        }
    }
    assert!(words > 30 && end == 4097, "{words} words, up to {end}");
}

#[test]
fn the_layout_version_is_that_of_the_code() {
    let code = text("src/segment/identity.rs");
    let (_, version) = code.split_once("const VERSION: u32 = ").unwrap();
    let (version, _) = version.split_once(';').unwrap();
    let sentence = format!("The layout version is {version}.");
    assert!(
        text("src/guide/format.md").contains(&sentence),
        "not: {sentence}"
    );
}
