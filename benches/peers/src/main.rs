//! Compares shmpipe with the kernel's transports and other crates, in one run.
//!
//! The README beside this crate describes the method.

mod board;
mod cells;
mod channel;
mod charts;
mod clock;
mod contenders;
mod crowd;
mod job;
mod machine;
mod measure;
mod name;
mod page;
mod pattern;
mod report;
mod results;
mod run;
mod stats;
mod summary;
mod sys;
mod verdict;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use measure::Options;
use results::Results;

/// Measures shmpipe and its rivals, and says which bars hold
#[derive(Parser)]
#[command(version, arg_required_else_help = false)]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    options: Options,
}

#[derive(Subcommand)]
enum Command {
    /// Measure, append to the results file, print the tables and draw the charts (default)
    Run(Options),
    /// Print the tables of a results file, and which bars hold
    Report { results: PathBuf },
    /// Draw the charts of a results file
    Charts {
        results: PathBuf,
        /// The folder of the charts
        #[arg(long, default_value = "charts")]
        out: PathBuf,
    },
    /// Write figures and charts of a results file into a page of the documentation, between
    /// its marks
    #[command(alias = "readme")]
    Page {
        results: PathBuf,
        #[arg(long, default_value = "src/guide/performance.md")]
        page: PathBuf,
        /// The folder of the charts, relative to the page
        #[arg(long, default_value = "../../benches/charts")]
        charts: PathBuf,
    },
    /// List the questions and the contenders
    List,
    /// The process that valgrind counts the instructions of
    #[command(hide = true)]
    Exchange {
        channel: String,
        block: usize,
        batches: u64,
    },
}

fn main() -> ExitCode {
    let args = Args::parse();
    match act(args.command.unwrap_or(Command::Run(args.options))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("peers: {error}");
            ExitCode::FAILURE
        }
    }
}

fn act(command: Command) -> std::io::Result<()> {
    match command {
        Command::Run(options) => {
            let results = measure::run(&options)?;
            println!("{}", report::text(&results));
            draw(&results, &options.charts)?;
        }
        Command::Report { results } => println!("{}", report::text(&Results::read(&results)?)),
        Command::Charts { results, out } => draw(&Results::read(&results)?, &out)?,
        Command::Page {
            results,
            page,
            charts,
        } => {
            page::update(&Results::read(&results)?, &page, &charts)?;
        }
        Command::Exchange {
            channel,
            block,
            batches,
        } => contenders::instructions::exchange_as(&channel, block, batches)?,
        Command::List => {
            println!("questions: {}", cells::QUESTIONS.join(", "));
            for contender in contenders::all() {
                println!("{:<14} {:?}", contender.name, contender.kind);
            }
        }
    }
    Ok(())
}

/// Draws the charts into `folder`, and prints the names of the files.
fn draw(results: &Results, folder: &Path) -> std::io::Result<()> {
    for (file, _) in charts::draw_all(results, folder)? {
        println!("{}", folder.join(file).display());
    }
    Ok(())
}
