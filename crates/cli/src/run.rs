//! `shmpipe run`: two commands, joined by a ring.
//!
//! This process reads the writer's stdout into the ring in one thread, and writes the ring to
//! the reader's stdin in another. The reader's stdin ends only once the writer has succeeded.
//! If the writer has failed, every process that reads the reader's stdin pipe is ended first.

use std::ffi::OsString;
use std::fs;
use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, getpid, kill_process, pidfd_open};
use shmpipe::escape::shown;
use shmpipe::{Consumer, Options, Producer, WaitPolicy};

use crate::args::{ProgressArgs, RunArgs};
use crate::exit::{Code, Failure};
use crate::progress::Progress;
use crate::recv::Receiver;
use crate::send::Sender;
use crate::signals::Signals;
use crate::stream::{LOOK, Stream};

/// The time that a reader gets after SIGTERM to end by itself, before SIGKILL.
const GRACE: Duration = Duration::from_secs(5);

pub(crate) fn run(args: &RunArgs) -> Result<(), Failure> {
    let Some((writer, reader)) = args.commands() else {
        let why = "expected a command, `--` and another command (see --help)";
        return Err(Failure::new(Code::Usage, why));
    };
    let signals = Signals::catch_more()?;
    let mut options = Options::new();
    options
        .cancel_on(Arc::clone(&signals.flag))
        .wait_policy(WaitPolicy::Park)
        .abort_on_drop(true);
    if let Some(capacity) = args.capacity {
        options.capacity(capacity);
    }
    let (producer, consumer) = options.pair()?;
    let (stdin, to_reader) = pipe()?;
    let mut reader = spawn(reader, Stdio::inherit(), Some(stdin.into()))?;
    let (from_writer, stdout) = pipe()?;
    let writer = match spawn(writer, stdout.into(), None) {
        Ok(writer) => writer,
        Err(failure) => {
            end_readers(&to_reader, &reader);
            wait(&mut reader, &signals, false);
            return Err(failure);
        }
    };
    let (writer, moved, reader) = thread::scope(|scope| {
        let signals = &signals;
        let sending = scope.spawn(move || send(from_writer, producer, writer, signals));
        let (moved, was_ended) = receive(to_reader, consumer, &reader, signals);
        let status = wait(&mut reader, signals, signals.check().is_err());
        let writer = sending
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (writer, moved, (!was_ended).then_some(status))
    });
    // After a signal, both commands are expected to fail.
    let interrupted = signals.check();
    signals.end(interrupted.and_then(|()| verdict(writer, moved, reader)))
}

fn pipe() -> Result<(PipeReader, PipeWriter), Failure> {
    io::pipe().map_err(|error| Failure::io("pipe", &error))
}

/// Starts a command. One of its stdin and stdout is a pipe.
fn spawn(line: &[OsString], stdout: Stdio, stdin: Option<Stdio>) -> Result<Child, Failure> {
    let mut command = Command::new(&line[0]);
    command.args(&line[1..]).stdout(stdout);
    if let Some(stdin) = stdin {
        command.stdin(stdin);
    }
    command.spawn().map_err(|error| {
        let status = if error.kind() == io::ErrorKind::NotFound {
            127
        } else {
            126
        };
        Failure::io(shown(&line[0]), &error).with_status(status)
    })
}

/// Moves the writer's stdout into the ring, and returns how the writer ended. Finishes the
/// stream only if the writer succeeded.
fn send(
    from_writer: PipeReader,
    mut producer: Producer,
    mut writer: Child,
    signals: &Signals,
) -> (Result<(), Failure>, ExitStatus) {
    let sent = Stream::input("the writer's stdout", from_writer.as_fd()).and_then(|mut stdin| {
        let mut sender = Sender {
            stdin: &mut stdin,
            producer: &mut producer,
            needs_receiver: true,
            progress: &mut Progress::new(ProgressArgs::QUIET, "run", false),
            signals,
        };
        sender.send_all()
    });
    drop(from_writer); // a writer that goes on writing gets SIGPIPE
    let status = wait(&mut writer, signals, false);
    match sent.is_ok() && status.success() {
        true => (producer.close().map_err(Failure::from), status),
        false => {
            producer.abort();
            (sent, status)
        }
    }
}

/// Moves the ring to the reader's stdin, and ends the stdin. Ends the reader first, unless the
/// stream is whole or the reader has gone. Returns whether the reader was ended, or was
/// given the signal that came.
fn receive(
    to_reader: PipeWriter,
    mut consumer: Consumer,
    reader: &Child,
    signals: &Signals,
) -> (Result<(), Failure>, bool) {
    let moved = Stream::output("the reader's stdin", to_reader.as_fd()).and_then(|stdout| {
        let mut receiver = Receiver {
            consumer: &mut consumer,
            stdout: &stdout,
            longest_wait: LOOK,
            outlives_death: false,
            progress: &mut Progress::new(ProgressArgs::QUIET, "run", false),
            signals,
        };
        receiver.receive_stream()
    });
    let ends = moved
        .as_ref()
        .is_err_and(|failure| !failure.is_output_closed());
    if moved.is_err() {
        consumer.abort(); // ends the writer, too
    }
    if signals.check().is_err() {
        // Everybody gets the signal, and the reader has some time before its stdin ends.
        forward(signals, reader);
        await_end_of_reading(&to_reader);
    } else if ends {
        end_readers(&to_reader, reader);
    }
    (moved, ends)
}

/// Combines both results into one exit status: that of the last command that failed. `reader`
/// is `None` if the reader was ended here.
fn verdict(
    (sent, writer): (Result<(), Failure>, ExitStatus),
    moved: Result<(), Failure>,
    reader: Option<ExitStatus>,
) -> Result<(), Failure> {
    if let Some(status) = reader.filter(|status| !status.success()) {
        return Err(Failure::exit(status_of(status)));
    }
    if !writer.success() {
        let status = status_of(writer);
        return Err(match reader {
            Some(_) => Failure::exit(status),
            None => {
                let why = format!("the writer failed ({writer}), so the reader was ended");
                Failure::other(why).with_status(status)
            }
        });
    }
    // A reader that has gone is no failure by itself, as in a pipeline of a shell.
    let is_failure =
        |failure: &Failure| !failure.is_output_closed() && !failure.is(Code::ReceiverLeft);
    match (moved, sent) {
        (Err(failure), _) | (_, Err(failure)) if is_failure(&failure) => Err(failure),
        _ => Ok(()),
    }
}

/// The status as a shell has it.
fn status_of(status: ExitStatus) -> u8 {
    let of_signal = || status.signal().map_or(1, |signal| 128 + signal);
    status.code().unwrap_or_else(of_signal) as u8 // both are less than 256
}

/// Waits for the end of `child`, and gives it the signal that has come, once. `knows` says that the
/// child has got the signal already.
fn wait(child: &mut Child, signals: &Signals, mut knows: bool) -> ExitStatus {
    let pidfd = pidfd_open(Pid::from_child(child), PidfdFlags::empty());
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return status,
            Ok(None) => {}
            Err(_) => return ExitStatus::from_raw(1 << 8), // reaped by somebody else
        }
        if !knows && signals.check().is_err() {
            forward(signals, child);
            knows = true;
        }
        let limit = Timespec {
            tv_sec: 0,
            tv_nsec: LOOK.subsec_nanos().into(),
        };
        match &pidfd {
            // Interrupted by a signal, or the end of the child.
            Ok(pidfd) => _ = poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&limit)),
            Err(_) => thread::sleep(LOOK),
        }
    }
}

/// Gives the signal that has come to `child`, which is not reaped.
fn forward(signals: &Signals, child: &Child) {
    if let Some(signal) = signals.to_forward() {
        let _ = kill_process(Pid::from_child(child), signal); // it may just have ended
    }
}

/// Ends every process that reads the pipe `to_reader`: the reader and what it has started.
/// Returns once no process reads the pipe any more.
fn end_readers(to_reader: &PipeWriter, reader: &Child) {
    for signal in [Signal::TERM, Signal::KILL] {
        let _ = kill_process(Pid::from_child(reader), signal); // it is not reaped yet
        for pid in readers_of(to_reader) {
            let _ = kill_process(pid, signal); // it may just have ended
        }
        if await_end_of_reading(to_reader) {
            return;
        }
    }
}

/// Waits for [`GRACE`] until nobody reads the pipe any more. Returns whether that is so.
fn await_end_of_reading(pipe: &PipeWriter) -> bool {
    let start = Instant::now();
    loop {
        let left = GRACE.saturating_sub(start.elapsed());
        let limit = Timespec {
            tv_sec: left.as_secs() as i64, // a few
            tv_nsec: left.subsec_nanos().into(),
        };
        let mut fds = [PollFd::new(pipe, PollFlags::empty())]; // ERR comes unasked
        let _ = poll(&mut fds, Some(&limit));
        if !fds[0].revents().is_empty() || left.is_zero() {
            return !fds[0].revents().is_empty();
        }
    }
}

/// The other processes that have the pipe open. They are its readers, since only this process
/// has the write end.
fn readers_of(pipe: &PipeWriter) -> Vec<Pid> {
    let Ok(found) = rustix::fs::fstat(pipe) else {
        return Vec::new();
    };
    let link = format!("pipe:[{}]", found.st_ino);
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let reads = |pid: &Pid| {
        let descriptors = fs::read_dir(format!("/proc/{}/fd", pid.as_raw_nonzero()));
        let mut descriptors = descriptors.into_iter().flatten().flatten();
        descriptors
            .any(|entry| fs::read_link(entry.path()).is_ok_and(|to| to.as_os_str() == &*link))
    };
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let others = pids
        .filter_map(Pid::from_raw)
        .filter(|&pid| pid != getpid());
    others.filter(reads).collect()
}
