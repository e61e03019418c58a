//! Talks to a child process in both directions: it sends numbers, and the child answers
//! with their squares.
//!
//! ```text
//! cargo run --example duplex_child
//! ```
//!
//! The child is this same program. It could be any program that calls
//! `shmpipe::duplex_from_parent`, or a shell that runs `shmpipe recv --from-parent` and
//! `shmpipe send --from-parent`.

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::process::Command;

fn main() -> Result<(), Box<dyn Error>> {
    match std::env::args().nth(1).as_deref() {
        None => parent(),
        Some("child") => child(),
        Some(_) => Err("usage: duplex_child".into()),
    }
}

fn parent() -> Result<(), Box<dyn Error>> {
    let mut command = Command::new(std::env::current_exe()?);
    let (mut requests, answers, mut child) = shmpipe::spawn_duplex(command.arg("child"))?;

    let mut answers = BufReader::new(answers).lines();
    for number in [2, 3, 12] {
        writeln!(requests, "{number}")?;
        // `None`: the child has finished. An error: it died, or never took its end.
        let answer = answers.next().ok_or("the child has left")??;
        println!("{number} squared is {answer}");
    }
    requests.close()?; // the child reads the end of its requests
    let status = child.wait()?;
    println!("the child: {status}");
    if !status.success() {
        return Err("the child failed".into());
    }
    Ok(())
}

fn child() -> Result<(), Box<dyn Error>> {
    let (mut answers, requests) = shmpipe::duplex_from_parent()?;
    answers.set_abort_on_drop(true); // `?` does not finish the stream
    for line in BufReader::new(requests).lines() {
        let number: u64 = line?.parse()?;
        writeln!(answers, "{}", number * number)?;
    }
    answers.close()?;
    Ok(())
}
