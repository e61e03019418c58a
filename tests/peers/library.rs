//! The library as a peer, which takes the words that the others take, and the bytes that all send.

use std::io::{Read, Write};
use std::time::Duration;

use crate::common::{kill_self, stream};
use shmpipe::{Broken, Consumer, OpenError, Options, Producer};

/// The length of the table of bytes that is sent again and again: a prime, so that laps of a ring show.
pub(crate) const PERIOD: usize = 65_521;

/// The table, once more than `more` bytes long.
pub(crate) fn table(more: usize) -> Vec<u8> {
    let once = stream(0x5eed, 0, PERIOD);
    let bytes = once.iter().copied().cycle();
    bytes.take(PERIOD + more).collect()
}

/// CRC-32, bit by bit into a table.
pub(crate) struct Crc(Vec<u32>);

impl Crc {
    pub(crate) fn new() -> Crc {
        let of = |byte: u32| (0..8).fold(byte, |crc, _| (crc >> 1) ^ ((crc & 1) * 0xedb8_8320));
        Crc((0..256).map(of).collect())
    }

    pub(crate) fn go_on(&self, crc: u32, bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!crc, |crc, &byte| {
            self.0[(crc as u8 ^ byte) as usize] ^ crc >> 8
        })
    }
}

/// What a peer is told.
struct Words(Vec<(String, String)>);

impl Words {
    fn get<'a>(&'a self, name: &str, default: &'a str) -> &'a str {
        let found = self.0.iter().find(|(word, _)| word == name);
        found.map_or(default, |(_, value)| value)
    }

    fn number(&self, name: &str, default: u64) -> u64 {
        let value = self.get(name, "");
        if value.is_empty() {
            default
        } else {
            value.parse().unwrap()
        }
    }

    fn options(&self) -> Options {
        let mut options = Options::new();
        options
            .timeout(Some(Duration::from_secs(self.number("timeout", 60))))
            .persistent(self.get("kind", "named") == "persistent")
            .resume(self.number("resume", 0) == 1);
        match self.number("capacity", 0) {
            0 => {}
            capacity => drop(options.capacity(capacity as usize)),
        }
        if self.number("wait", 1) == 0 {
            options.wait_for_peer(false);
        }
        options
    }
}

/// Plays the library's peer.
pub(crate) fn play(part: &str) {
    let words = part.split_whitespace().map(|word| {
        let (name, value) = word.split_once('=').unwrap();
        (name.to_owned(), value.to_owned())
    });
    let words = Words(words.collect());
    let (options, path) = (words.options(), words.get("path", ""));
    let id = words.get("id", "").parse().ok();
    match words.get("role", "") {
        "producer" => {
            let opened = match id {
                Some(id) => options.attach(id).and_then(|ring| ring.into_producer()),
                None => options.open_producer(path),
            };
            produce(
                &words,
                opened.unwrap_or_else(|error| give_up(refused(error))),
            );
        }
        "consumer" => {
            let opened = match id {
                Some(id) => options.attach(id).and_then(|ring| ring.into_consumer()),
                None => options.open_consumer(path),
            };
            consume(
                &words,
                opened.unwrap_or_else(|error| give_up(refused(error))),
            );
        }
        role => panic!("no role is called {role}"),
    }
}

/// As the other peers say it.
fn refused(error: OpenError) -> String {
    match error {
        OpenError::RoleTaken { .. } => "the role is taken".to_owned(),
        error => error.to_string(),
    }
}

fn give_up(error: impl std::fmt::Display) -> ! {
    println!("peer: error={error}");
    std::process::exit(1)
}

/// What is left to do after the result was printed.
fn end(words: &Words, finish: impl FnOnce(), abort: impl FnOnce()) {
    match words.get("end", "finish") {
        "kill" => kill_self(),
        "stay" => std::thread::sleep(Duration::from_secs(600)),
        "abort" => abort(),
        _ => finish(),
    }
}

fn produce(words: &Words, mut producer: Producer) {
    println!("opened");
    let (block, total) = (words.number("block", 65_536), words.number("bytes", 0));
    let (table, crc) = (table(block as usize), Crc::new());
    let (mut done, mut digest) = (words.number("start", 0), 0);
    while done < total {
        let at = (done % PERIOD as u64) as usize;
        let bytes = &table[at..][..block.min(total - done) as usize];
        if let Err(error) = producer.write_all(bytes) {
            give_up(match Broken::find(&error) {
                Some(Broken::ConsumerClosed) => "closed".to_owned(),
                Some(Broken::Died { .. }) => "died".to_owned(),
                _ => error.to_string(),
            });
        }
        digest = crc.go_on(digest, bytes);
        done += bytes.len() as u64;
    }
    println!("peer: wrote bytes={done} digest={digest:08x}");
    let producer = std::cell::RefCell::new(producer);
    end(
        words,
        || producer.borrow_mut().close().unwrap(),
        || producer.borrow_mut().abort(),
    );
}

/// Reads one stream. Returns what is to be said about it.
fn read_stream(words: &Words, consumer: &mut Consumer, table: &[u8], crc: &Crc) -> String {
    let (block, total) = (words.number("block", 65_536), words.number("bytes", 0));
    let (mut done, mut digest) = (words.number("start", 0), 0);
    let mut bytes = vec![0; block as usize];
    let ended = loop {
        let left = if total == 0 {
            block
        } else {
            block.min(total - done)
        };
        if left == 0 {
            break "enough";
        }
        match consumer.read(&mut bytes[..left as usize]) {
            Ok(0) => break "finished",
            Ok(len) => {
                let at = (done % PERIOD as u64) as usize;
                if bytes[..len] != table[at..][..len] {
                    give_up(format!("wrong bytes at {done}"));
                }
                digest = crc.go_on(digest, &bytes[..len]);
                done += len as u64;
            }
            Err(error) => match Broken::find(&error) {
                Some(Broken::ProducerAborted) => break "aborted",
                Some(Broken::Died { .. }) => break "died",
                _ => give_up(error),
            },
        }
    };
    format!("{ended} bytes={done} digest={digest:08x}")
}

fn consume(words: &Words, mut consumer: Consumer) {
    println!("opened");
    let (table, crc) = (table(words.number("block", 65_536) as usize), Crc::new());
    let streams = words.number("streams", 1);
    let mut said = vec![];
    for stream in 0..streams {
        said.push(read_stream(words, &mut consumer, &table, &crc));
        if stream + 1 < streams {
            assert_eq!(consumer.next_stream(), Ok(true));
        }
    }
    println!("peer: {}", said.join("; "));
    let consumer = std::cell::RefCell::new(consumer);
    end(
        words,
        || drop(consumer.borrow_mut().close()),
        || consumer.borrow_mut().abort(),
    );
}
