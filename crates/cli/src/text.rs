//! Text on stdout.

use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;

use crate::exit::Failure;

/// Writes `text` to stdout. Does not use std's writes, which ignore EBADF, the error of a
/// stdout that is open only for reading.
pub(crate) fn print(text: impl fmt::Display) -> Result<(), Failure> {
    let stdout = io::stdout().as_fd().try_clone_to_owned().map(File::from);
    let written = stdout.and_then(|mut stdout| stdout.write_all(text.to_string().as_bytes()));
    written.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::stdout_closed(),
        _ => Failure::io("stdout", &error),
    })
}
