//! Completions and man pages, made from the definitions of the command line.

use std::fs;
use std::io::{self, Write};

use clap::Command;
use clap_mangen::Man;
use shmpipe::escape::shown;

use crate::args::{self, CompletionsArgs, ManArgs};
use crate::exit::Failure;

/// `shmpipe completions SHELL`
pub(crate) fn completions(args: &CompletionsArgs) -> Result<(), Failure> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut args::command(), "shmpipe", &mut text);
    crate::text::print(String::from_utf8_lossy(&text))
}

/// `shmpipe man FOLDER`: `shmpipe.1`, and `shmpipe-VERB.1` for each verb.
pub(crate) fn pages(args: &ManArgs) -> Result<(), Failure> {
    let folder = &args.folder;
    let failed = |error: io::Error| Failure::io(shown(folder), &error);
    fs::create_dir_all(folder).map_err(failed)?;
    let mut command = args::command().disable_help_subcommand(true);
    command.build();
    for verb in command
        .get_subcommands()
        .filter(|verb| verb.get_name() != "help")
    {
        let name = format!("shmpipe-{}", verb.get_name());
        // The page has the name of the verb, and its synopsis shows the command line.
        let usage = format!("shmpipe {}", verb.get_name());
        let verb = verb.clone().name(name.clone()).bin_name(usage);
        fs::write(folder.join(name + ".1"), page(verb).map_err(failed)?).map_err(failed)?;
    }
    fs::write(folder.join("shmpipe.1"), page(command).map_err(failed)?).map_err(failed)
}

/// Stands for the date of a page, which the pages do not have.
const NO_DATE: &str = "NO-DATE";

/// The page of a command: its definitions, its examples, and the exit codes.
fn page(command: Command) -> io::Result<Vec<u8>> {
    let long = command.get_after_long_help().map(ToString::to_string);
    let long = long.unwrap_or_default();
    let (examples, codes) = long.split_once("\n\nExit codes:\n").unwrap_or((&long, ""));
    let examples = examples.strip_prefix("Examples:\n").unwrap_or(examples);
    let man = Man::new(
        command
            .after_long_help(None::<&str>)
            .after_help(None::<&str>),
    )
    .date(NO_DATE)
    .source(concat!("shmpipe ", env!("CARGO_PKG_VERSION")))
    .manual("User Commands");
    let mut rendered = Vec::new();
    man.render(&mut rendered)?;
    // An empty date would be left out, and the version would come in its place.
    let rendered = String::from_utf8_lossy(&rendered).replacen(NO_DATE, "\"\"", 1);
    let mut page = rendered.into_bytes();
    for (title, text) in [("EXAMPLES", examples), ("EXIT STATUS", codes)] {
        if !text.is_empty() {
            writeln!(page, ".SH \"{title}\"\n{}", plain(text))?;
        }
    }
    Ok(page)
}

/// Text as roff(7): lines with an indent stay as they are, others are paragraphs.
fn plain(text: &str) -> String {
    let mut page = String::new();
    let mut is_fixed = false;
    for line in text.lines().filter(|line| !line.is_empty()) {
        let was_fixed = std::mem::replace(&mut is_fixed, line.starts_with(' '));
        page += match (was_fixed, is_fixed) {
            (false, true) => ".nf\n",
            (true, false) => ".fi\n.PP\n",
            (true, true) => "",
            (false, false) => ".PP\n",
        };
        page += &escaped(line);
        page.push('\n');
    }
    match is_fixed {
        true => page + ".fi",
        false => page.trim_end().to_owned(),
    }
}

/// Escapes a line for roff(7).
fn escaped(line: &str) -> String {
    let line = line
        .replace('\\', "\\e")
        .replace('-', "\\-")
        .replace('\'', "\\(aq");
    match line.starts_with('.') {
        true => format!("\\&{line}"),
        false => line,
    }
}
