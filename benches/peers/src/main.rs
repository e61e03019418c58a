//! Compares shmpipe with the kernel's transports and other crates, in one run.
//!
//! The README beside this crate describes the method.

mod board;
mod budget;
mod cells;
mod channel;
mod clock;
mod contenders;
mod crowd;
#[path = "../../figures/mod.rs"]
mod figures;
mod job;
mod machine;
mod measure;
mod name;
mod pattern;
mod results;
mod run;
mod sys;

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use figures::data::{Data, Machine};
use figures::{chart, page, table};
use measure::Options;

/// Measures shmpipe and its rivals, and says who is ahead, and what the machine allows
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
    /// Print the tables of a results file, and the verdict
    Report { results: PathBuf },
    /// Draw the charts of a results file
    Charts {
        results: PathBuf,
        /// The folder of the charts
        #[arg(long, default_value = "charts")]
        out: PathBuf,
    },
    /// Keep the samples of a results file as data, in a file named after the machine
    Keep {
        results: PathBuf,
        /// The folder of the data
        #[arg(long, default_value = "benches/peers/data")]
        data: PathBuf,
    },
    /// Write figures and charts of the data that is kept into the documentation
    Page {
        /// The root of the checkout
        #[arg(long, default_value = ".")]
        root: PathBuf,
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

fn act(command: Command) -> io::Result<()> {
    match command {
        Command::Run(options) => {
            let data = measure::run(&options)?;
            println!("{}", table::report(&data));
            draw(&data, &options.charts)?;
        }
        Command::Report { results } => println!("{}", table::report(&results::read(&results)?)),
        Command::Charts { results, out } => draw(&results::read(&results)?, &out)?,
        Command::Keep { results, data } => keep(&results::read(&results)?, &data)?,
        Command::Page { root } => write_page(&root)?,
        Command::Exchange {
            channel,
            block,
            batches,
        } => contenders::instructions::exchange_as(&channel, block, batches)?,
        Command::List => {
            let questions: Vec<&str> = cells::questions().collect();
            println!("questions: {}", questions.join(", "));
            for contender in contenders::all() {
                println!("{:<14} {:?}", contender.name, contender.kind);
            }
        }
    }
    Ok(())
}

/// Draws the charts into `folder`, and prints the names of the files.
fn draw(data: &Data, folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let stem = data
        .machines
        .first()
        .map_or_else(String::new, Machine::stem);
    for chart in chart::all(data, &stem) {
        let file = folder.join(chart.file());
        std::fs::write(&file, &chart.svg)?;
        println!("{}", file.display());
    }
    Ok(())
}

/// Writes the data of one machine into `folder`, in place of what is kept of this machine.
fn keep(data: &Data, folder: &Path) -> io::Result<()> {
    let Some(machine) = data.machines.first() else {
        return Err(io::Error::other("the results name no machine"));
    };
    if data.machines.iter().any(|other| other.cpu != machine.cpu) {
        return Err(io::Error::other("the results are of several machines"));
    }
    std::fs::create_dir_all(folder)?;
    let file = folder.join(format!("{}.jsonl", machine.stem()));
    std::fs::write(&file, data.text()?)?;
    println!("{}", file.display());
    Ok(())
}

/// Writes the page, its references and its charts below `root`. Removes other charts.
fn write_page(root: &Path) -> io::Result<()> {
    let (guide, charts) = (root.join("src/guide"), root.join("benches/charts"));
    let all = Data::all(&root.join("benches/peers/data"))?;
    let file = guide.join("performance.md");
    let Some(made) = page::make(&std::fs::read_to_string(&file)?, &all) else {
        return Err(io::Error::other(format!(
            "{} lacks its marks",
            file.display()
        )));
    };
    for entry in std::fs::read_dir(&charts)? {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "svg") {
            std::fs::remove_file(path)?;
        }
    }
    for chart in &made.charts {
        std::fs::write(charts.join(chart.file()), &chart.svg)?;
    }
    std::fs::write(guide.join("charts.txt"), made.references)?;
    std::fs::write(file, made.page)
}
