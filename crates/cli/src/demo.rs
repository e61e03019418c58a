//! `shmpipe demo`: a child streams to its parent, through a ring and through a pipe(2) in
//! turns. Every byte is verified.
//!
//! Parent and child also have a pair of sockets for control. Over the sockets, the parent says
//! when the clock starts, and the child reports its result. Before the clock starts, both
//! have touched the pages that they use.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use shmpipe::DEFAULT_CAPACITY;
use shmpipe::escape::{explained, shown};

use crate::args::DemoArgs;
use crate::exit::{Code, Failure};
use crate::figures::{self, Bar, Calls, Rounds, Run};
use crate::fork::{Child, Forked, fork};
use crate::source::{Plan, Source};
use crate::transport::Transport;

/// The longest block in bytes.
const MAX_BLOCK: usize = 1 << 30;

/// Why the parent stops.
#[derive(Debug)]
enum Stop {
    /// The stream failed, or ended early. The child may know why.
    Stream(Failure),
    /// Something else failed.
    Here(Failure),
}

/// What the runs have in common.
#[derive(Debug)]
struct Demo {
    plan: Plan,
    block: usize,
    capacity: usize,
}

pub(crate) fn run(args: &DemoArgs) -> Result<(), Failure> {
    if args.block.iter().any(|&block| block > MAX_BLOCK) {
        return Err(Failure::new(Code::Usage, "a block is at most 1GiB"));
    }
    let plan = match &args.file {
        None => Plan::Random {
            seed: args.seed,
            bytes: args.bytes,
        },
        Some(path) => Plan::file(path.clone())
            .map_err(|error| Failure::io(shown(path), &explained(path, error)))?,
    };
    let mut demo = Demo {
        plan,
        block: 0,
        capacity: args.capacity.unwrap_or(DEFAULT_CAPACITY),
    };
    let mut results: Vec<Rounds> = args.block.iter().map(|&block| Rounds::new(block)).collect();
    for round in 0..args.rounds {
        for rounds in &mut results {
            demo.block = rounds.block;
            // The order alternates, since the first run may meet other conditions.
            let is_ring_first = round % 2 == 0;
            if is_ring_first {
                rounds.ring.push(demo.through_ring()?);
            }
            rounds.pipe.push(demo.through_pipe()?);
            if !is_ring_first {
                rounds.ring.push(demo.through_ring()?);
            }
        }
    }
    crate::text::print(figures::report(
        &demo.title(args.rounds),
        demo.plan.bytes(),
        &results,
        crate::text::columns(),
    ))
}

impl Demo {
    fn through_ring(&mut self) -> Result<Run, Failure> {
        let mut options = shmpipe::Options::new();
        let ring = options.capacity(self.capacity).create_anonymous()?;
        self.capacity = ring.capacity();
        let (control, childs_control) = control()?;
        match fork().map_err(|error| Failure::io("fork", &error))? {
            Forked::Child => {
                drop(control);
                self.child(ring.into_producer().map_err(Failure::from), childs_control)
            }
            Forked::Parent(child) => {
                drop(childs_control);
                self.parent("ring", ring.into_consumer()?, control, child)
            }
        }
    }

    fn through_pipe(&self) -> Result<Run, Failure> {
        let (reader, writer) = io::pipe().map_err(|error| Failure::io("pipe", &error))?;
        let (control, childs_control) = control()?;
        match fork().map_err(|error| Failure::io("fork", &error))? {
            Forked::Child => {
                drop((reader, control));
                self.child(Ok(writer), childs_control)
            }
            Forked::Parent(child) => {
                drop((writer, childs_control));
                self.parent("pipe", reader, control, child)
            }
        }
    }

    /// Runs the child, then exits.
    fn child(&self, writer: Result<impl Transport + Write, Failure>, mut control: UnixStream) -> ! {
        let sent = writer.and_then(|mut writer| {
            let sent = self.send(&mut writer, &mut control);
            writer.end(sent.is_ok());
            sent
        });
        let (code, report) = match sent {
            Ok(calls) => (0, calls.to_string()),
            Err(failure) => (1, failure.message().to_owned()),
        };
        // Without a parent nobody reads this.
        let _ = control.write_all(report.as_bytes());
        std::process::exit(code)
    }

    fn send(
        &self,
        writer: &mut (impl Transport + Write),
        control: &mut UnixStream,
    ) -> Result<Calls, Failure> {
        let mut source = self.source()?;
        let zeros = vec![0; self.block];
        for len in self.pieces(self.capacity as u64) {
            writer.write_all(&zeros[..len]).map_err(Failure::stream)?;
        }
        control
            .read_exact(&mut [0])
            .map_err(|error| Failure::io("the parent", &error))?;
        let before = writer.calls();
        for len in self.pieces(self.plan.bytes()) {
            let piece = source.next(len).map_err(|error| self.reading(error))?;
            writer.write_all(piece).map_err(Failure::stream)?;
        }
        Ok(writer.calls().since(before))
    }

    /// The parent's side of a run.
    fn parent(
        &self,
        name: &'static str,
        mut reader: impl Transport + Read,
        mut control: UnixStream,
        child: Child,
    ) -> Result<Run, Failure> {
        let received = self.receive(name, &mut reader, &mut control);
        reader.end(received.is_ok());
        // A child that still waits for the clock must not wait any longer.
        let _ = control.shutdown(Shutdown::Write);
        let mut report = String::new();
        let reported = control.read_to_string(&mut report);
        let status = child
            .wait()
            .map_err(|error| Failure::io("waitpid", &error))?;
        if let Some(signal) = status.terminating_signal() {
            let died = format_args!("the child died of signal {signal}").to_string();
            return Err(Failure::new(Code::PeerDied, died));
        }
        let (time, consumer) = match received {
            Ok(received) => received,
            // The child knows better why its stream broke off.
            Err(Stop::Stream(_)) if status.exit_status() == Some(1) => {
                return Err(Failure::other(report).at("the child"));
            }
            Err(Stop::Stream(failure) | Stop::Here(failure)) => return Err(failure),
        };
        let producer = match (reported, Calls::parse(&report)) {
            (Ok(_), Some(calls)) if status.exit_status() == Some(0) => calls,
            _ => return Err(Failure::other(report).at("the child")),
        };
        Ok(Run {
            time,
            producer,
            consumer,
        })
    }

    fn receive(
        &self,
        name: &'static str,
        reader: &mut (impl Transport + Read),
        control: &mut UnixStream,
    ) -> Result<(Duration, Calls), Stop> {
        let stream = |error| Stop::Stream(Failure::stream(error));
        let mut source = self.source().map_err(Stop::Here)?;
        let mut block = vec![0; self.block];
        for len in self.pieces(self.capacity as u64) {
            reader.read_exact(&mut block[..len]).map_err(stream)?;
        }
        let before = reader.calls();
        let bar = Bar::new(name, self.plan.bytes());
        let start = Instant::now();
        control.write_all(&[0]).map_err(stream)?;
        let position = self.verify(reader, &mut source, &mut block, bar)?;
        let time = start.elapsed();
        match position == self.plan.bytes() {
            true => Ok((time, reader.calls().since(before))),
            false => {
                let wanted = self.plan.bytes();
                let short = format_args!("the stream ended after {position} of {wanted} bytes");
                Err(Stop::Stream(Failure::other(short)))
            }
        }
    }

    /// Compares all received bytes with `source`. Returns their number.
    fn verify(
        &self,
        reader: &mut impl Read,
        source: &mut Source,
        block: &mut [u8],
        mut bar: Bar,
    ) -> Result<u64, Stop> {
        let mut position = 0;
        loop {
            let len = match reader.read(block) {
                Ok(0) => return Ok(position),
                Ok(len) => len,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Stop::Stream(Failure::stream(error))),
            };
            let got = &block[..len];
            if len as u64 > self.plan.bytes() - position {
                let wanted = self.plan.bytes();
                let long = format_args!("the stream goes on after its {wanted} bytes");
                return Err(Stop::Here(Failure::other(long)));
            }
            let wanted = source
                .next(len)
                .map_err(|error| Stop::Here(self.reading(error)))?;
            if got != wanted {
                let same = got.iter().zip(wanted).take_while(|(a, b)| a == b).count();
                let at = position + same as u64;
                return Err(Stop::Here(Failure::other(format_args!(
                    "byte {at} of the stream is {:#04x}, not {:#04x}",
                    got[same], wanted[same]
                ))));
            }
            position += len as u64;
            bar.show(position);
        }
    }

    fn title(&self, rounds: u32) -> String {
        let what = match &self.plan {
            Plan::Random { seed, .. } => format!("pseudo-random bytes (seed {seed})"),
            Plan::File { path, .. } => format!("bytes of {}", shown(path)),
        };
        let of_rounds = match rounds {
            1 => "one round".to_owned(),
            rounds => format!("medians of {rounds} rounds"),
        };
        format!(
            "{} {what}, from a child process to its parent\n\
             every byte verified; a ring of {} bytes; {of_rounds}",
            self.plan.bytes(),
            self.capacity,
        )
    }

    fn source(&self) -> Result<Source, Failure> {
        self.plan
            .source(self.block)
            .map_err(|error| self.reading(error))
    }

    fn reading(&self, error: io::Error) -> Failure {
        match &self.plan {
            Plan::File { path, .. } => Failure::io(shown(path), &error),
            Plan::Random { .. } => Failure::other(error),
        }
    }

    /// The lengths of the blocks that `bytes` bytes are sent in.
    fn pieces(&self, bytes: u64) -> impl Iterator<Item = usize> + use<> {
        let block = self.block as u64;
        (0..bytes.div_ceil(block)).map(move |index| block.min(bytes - index * block) as usize)
    }
}

/// Makes the control sockets of parent and child.
fn control() -> Result<(UnixStream, UnixStream), Failure> {
    UnixStream::pair().map_err(|error| Failure::io("socketpair", &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The verdict on a stream of 3 blocks after `change`.
    fn verdict(change: fn(&mut Vec<u8>)) -> Result<u64, String> {
        let (block, bytes) = (4096, 3 * 4096);
        let demo = Demo {
            plan: Plan::Random { seed: 1, bytes },
            block,
            capacity: block,
        };
        let mut source = demo.source().unwrap();
        let mut stream = Vec::new();
        for len in demo.pieces(bytes) {
            stream.extend_from_slice(source.next(len).unwrap());
        }
        change(&mut stream);
        let mut again = demo.source().unwrap();
        let verdict = demo.verify(
            &mut &stream[..],
            &mut again,
            &mut [0; 1000],
            Bar::new("", 0),
        );
        verdict
            .map_err(|(Stop::Here(failure) | Stop::Stream(failure))| failure.message().to_owned())
    }

    #[test]
    fn every_byte_counts() {
        assert_eq!(verdict(|_| {}), Ok(12288));
        assert_eq!(verdict(|stream| stream.truncate(8192)), Ok(8192));
        let says = |start: &str, change| verdict(change).unwrap_err().starts_with(start);
        assert!(says("byte 8000 of", |stream| stream[8000] ^= 1));
        assert!(says("byte 4096 of", |stream| stream.copy_within(..4096, 4096)));
        assert!(says("byte 4096 of", |stream| drop(
            stream.drain(4096..8192)
        )));
        assert!(says("the stream goes on", |stream| stream.push(0)));
    }
}
