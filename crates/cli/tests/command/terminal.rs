//! A pseudo-terminal with the command in it, and what its screen shows.
#![allow(unsafe_code)] // a session and a controlling terminal for the child

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, OptionalActions, Winsize, tcgetattr, tcsetattr, tcsetwinsize};

use crate::running::{take_signals, until};

/// A terminal, and the process in its foreground, which is killed with the test.
pub(crate) struct Terminal {
    master: File,
    output: Receiver<Vec<u8>>,
    parser: vt100::Parser,
    /// All that came so far.
    came: Vec<u8>,
    reader: Option<JoinHandle<()>>,
    is_wanted: Arc<AtomicBool>,
    pub(crate) child: Child,
}

/// What stays of stdin and stdout, where these do not lead to the terminal.
#[derive(Default)]
pub(crate) struct Apart {
    pub(crate) stdin: Option<Stdio>,
    pub(crate) stdout: Option<Stdio>,
    /// Variables other than those of a colourful terminal that shows Unicode.
    pub(crate) env: &'static [(&'static str, &'static str)],
}

impl Terminal {
    /// Runs the command with its three streams on a terminal of this size.
    pub(crate) fn run(
        (rows, columns): (u16, u16),
        args: impl IntoIterator<Item = impl AsRef<OsStr>>,
        apart: Apart,
    ) -> Terminal {
        let mut command = Command::new(env!("CARGO_BIN_EXE_shmpipe"));
        Terminal::start((rows, columns), command.args(args), apart)
    }

    /// Runs a shell with job control. In its script, the command is `"$0"`.
    pub(crate) fn shell(size: (u16, u16), script: &str) -> Terminal {
        let mut shell = Command::new("sh");
        shell.args(["-mc", script, env!("CARGO_BIN_EXE_shmpipe")]);
        Terminal::start(size, &mut shell, Apart::default())
    }

    fn start((rows, columns): (u16, u16), command: &mut Command, apart: Apart) -> Terminal {
        take_signals();
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC);
        let master = master.unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let mut how = File::options();
        let slave = how
            .read(true)
            .write(true)
            .open(name.to_str().unwrap())
            .unwrap();
        tcsetwinsize(&slave, size(rows, columns)).unwrap();
        let stream = || Stdio::from(OwnedFd::from(slave.try_clone().unwrap()));
        command
            .env("TERM", "xterm-256color")
            .env("LC_ALL", "C.UTF-8")
            .env_remove("NO_COLOR")
            .env_remove("COLUMNS")
            .env_remove("LINES")
            .envs(apart.env.iter().copied());
        command.stdin(apart.stdin.unwrap_or_else(stream));
        command
            .stdout(apart.stdout.unwrap_or_else(stream))
            .stderr(stream());
        let in_foreground = || {
            rustix::process::setsid()?;
            rustix::process::ioctl_tiocsctty(rustix::stdio::stderr())?;
            Ok(())
        };
        // SAFETY: the closure makes two system calls, and allocates nothing.
        unsafe { command.pre_exec(in_foreground) };
        let child = command.spawn().unwrap();
        let master = File::from(master);
        let (sender, output) = channel();
        let is_wanted = Arc::new(AtomicBool::new(true));
        let mut input = master.try_clone().unwrap();
        let goes_on = Arc::clone(&is_wanted);
        let reader = thread::spawn(move || {
            let mut part = [0; 4096];
            while goes_on.load(Ordering::Relaxed) {
                let moment = Timespec {
                    tv_sec: 0,
                    tv_nsec: 20_000_000,
                };
                let mut fds = [PollFd::new(&input, PollFlags::IN)];
                if poll(&mut fds, Some(&moment)) == Ok(0) {
                    continue;
                }
                // EIO once nobody has the terminal open.
                match input.read(&mut part) {
                    Ok(len @ 1..) if sender.send(part[..len].to_vec()).is_ok() => {}
                    _ => return,
                }
            }
        });
        let parser = vt100::Parser::new(rows, columns, 0);
        Terminal {
            master,
            output,
            parser,
            came: Vec::new(),
            reader: Some(reader),
            is_wanted,
            child,
        }
    }

    pub(crate) fn press(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    pub(crate) fn resize(&mut self, rows: u16, columns: u16) {
        self.parser.screen_mut().set_size(rows, columns);
        tcsetwinsize(&self.master, size(rows, columns)).unwrap(); // the kernel sends SIGWINCH
    }

    /// What the screen shows now.
    pub(crate) fn screen(&mut self) -> String {
        for part in self.output.try_iter() {
            self.parser.process(&part);
            self.came.extend(part);
        }
        self.parser.screen().contents()
    }

    /// All that came so far, with its control sequences.
    pub(crate) fn all(&mut self) -> String {
        self.screen();
        String::from_utf8_lossy(&self.came).into_owned()
    }

    /// Closes the terminal, as its window is closed.
    pub(crate) fn hang_up(&mut self) {
        self.is_wanted.store(false, Ordering::Relaxed);
        self.reader.take().unwrap().join().unwrap();
        self.master = File::open("/dev/null").unwrap();
    }

    /// Has the terminal not tell its size.
    pub(crate) fn forget_size(&mut self) {
        tcsetwinsize(&self.master, size(0, 0)).unwrap();
    }

    /// Has keys come by lines, as a shell does before it reads a command.
    pub(crate) fn cook(&mut self) {
        let mut modes = tcgetattr(&self.master).unwrap();
        modes
            .local_modes
            .insert(LocalModes::ICANON | LocalModes::ECHO);
        tcsetattr(&self.master, OptionalActions::Now, &modes).unwrap();
    }

    /// Whether keys come at once, to a full-screen program.
    pub(crate) fn is_raw(&mut self) -> bool {
        let modes = tcgetattr(&self.master).unwrap().local_modes;
        self.is_alternate() && !modes.contains(LocalModes::ICANON)
    }

    /// Whether a full-screen program has the screen.
    pub(crate) fn is_alternate(&mut self) -> bool {
        self.screen();
        self.parser.screen().alternate_screen()
    }

    /// Whether the terminal is as a shell wants it: the cursor is there, and keys come by lines.
    pub(crate) fn is_plain(&mut self) -> bool {
        let is_alternate = self.is_alternate();
        let modes = tcgetattr(&self.master).unwrap().local_modes;
        !is_alternate && !self.parser.screen().hide_cursor() && modes.contains(LocalModes::ICANON)
    }

    /// The colours on the screen other than the terminal's own.
    pub(crate) fn has_colours(&mut self) -> bool {
        self.screen();
        let screen = self.parser.screen();
        let (rows, columns) = screen.size();
        let cells = (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column)));
        let mut cells = cells.filter_map(|(row, column)| screen.cell(row, column));
        cells.any(|cell| cell.fgcolor() != vt100::Color::Default)
    }

    /// Waits until the screen holds all of `words`.
    #[track_caller]
    pub(crate) fn until_it_shows(&mut self, words: &[&str]) -> String {
        let mut last = String::new();
        let what = format!("the screen shows {words:?}");
        let start = std::time::Instant::now();
        until(&what, || {
            last = self.screen();
            if start.elapsed().as_secs() > 20 {
                panic!("{what}, but it is:\n{last}");
            }
            words
                .iter()
                .all(|word| last.contains(word))
                .then(|| last.clone())
        })
    }

    #[track_caller]
    pub(crate) fn end(&mut self) -> ExitStatus {
        until("it ends", || self.child.try_wait().unwrap())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn size(ws_row: u16, ws_col: u16) -> Winsize {
    Winsize {
        ws_row,
        ws_col,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}
