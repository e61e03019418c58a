//! The bytes of the demo: the sender makes them, and the receiver knows them.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

/// Bytes of the table that a pseudo-random stream repeats. The number is a prime. So a lap
/// of the ring, or a number of blocks, is never a whole number of tables. Bytes that are
/// lost, repeated or out of place differ.
const TABLE: usize = 1_048_573;

/// A stream that can be made several times.
#[derive(Clone, Debug)]
pub(crate) enum Plan {
    Random { seed: u64, bytes: u64 },
    File { path: PathBuf, bytes: u64 },
}

impl Plan {
    pub(crate) fn file(path: PathBuf) -> io::Result<Plan> {
        let refused = |why: String| Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        if !std::fs::metadata(&path)?.is_file() {
            return refused("not a regular file, which can be read twice".to_owned());
        }
        // Non-blocking: reading a file of /proc, for example, may block.
        let mut how = File::options();
        let file = how.read(true).custom_flags(libc::O_NONBLOCK).open(&path)?;
        let bytes = file.metadata()?.len();
        // Finds files that have more or fewer bytes than their size says.
        match io::copy(&mut file.take(bytes.saturating_add(1)), &mut io::sink()) {
            Ok(read) if read == bytes => Ok(Plan::File { path, bytes }),
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            read => {
                let other = match read {
                    Ok(read) if read < bytes => "fewer",
                    _ => "more",
                };
                refused(format!(
                    "its size is {bytes} bytes, but it has {other}: not a file that can be read twice"
                ))
            }
        }
    }

    pub(crate) fn bytes(&self) -> u64 {
        match self {
            Plan::Random { bytes, .. } | Plan::File { bytes, .. } => *bytes,
        }
    }

    /// The stream from its start, in pieces of up to `block` bytes. Its data are in memory
    /// when this returns.
    pub(crate) fn source(&self, block: usize) -> io::Result<Source> {
        match self {
            Plan::Random { seed, .. } => Ok(Source::Table {
                table: table(*seed, block),
                at: 0,
            }),
            Plan::File { path, .. } => {
                io::copy(&mut File::open(path)?, &mut io::sink())?; // into the page cache
                Ok(Source::File {
                    file: File::open(path)?,
                    block: vec![0; block],
                })
            }
        }
    }
}

/// A stream, read up to some point.
#[derive(Debug)]
pub(crate) enum Source {
    /// The table, and then its first block once more, for pieces that cross the end.
    Table {
        table: Vec<u8>,
        at: usize,
    },
    File {
        file: File,
        block: Vec<u8>,
    },
}

impl Source {
    /// The next `len` bytes; at most a block.
    pub(crate) fn next(&mut self, len: usize) -> io::Result<&[u8]> {
        match self {
            Source::Table { table, at } => {
                let start = *at;
                *at = (start + len) % TABLE;
                Ok(&table[start..start + len])
            }
            Source::File { file, block } => {
                file.read_exact(&mut block[..len])?;
                Ok(&block[..len])
            }
        }
    }
}

fn table(seed: u64, block: usize) -> Vec<u8> {
    let mut table = Vec::with_capacity(TABLE + 8 + block);
    let mut state = seed;
    while table.len() < TABLE {
        // SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        table.extend_from_slice(&(word ^ (word >> 31)).to_le_bytes());
    }
    table.truncate(TABLE);
    for index in 0..block {
        table.push(table[index]);
    }
    table
}
