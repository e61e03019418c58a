//! The command in a process of its own.

use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use crate::{Folder, spawn, until};

pub(crate) struct Relay {
    child: Child,
    log: std::path::PathBuf,
    args: Vec<String>,
    variables: Vec<(String, String)>,
    _folder: Folder,
}

impl Relay {
    pub(crate) fn start(args: &[&str]) -> Relay {
        Relay::with(args, &[])
    }

    /// Starts a relay with environment variables.
    pub(crate) fn with(args: &[&str], variables: &[(&str, &str)]) -> Relay {
        let folder = Folder::new();
        let log = folder.path().join("log");
        let args: Vec<String> = args.iter().map(ToString::to_string).collect();
        let own = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
        let variables: Vec<_> = variables.iter().map(own).collect();
        Relay {
            child: run(&args, &variables, &log),
            log,
            args,
            variables,
            _folder: folder,
        }
    }

    pub(crate) fn send(path: &Path, stream: &str, url: &str, more: &[&str]) -> Relay {
        let path = path.to_str().unwrap();
        Relay::start(&[&["send", path, url, "--stream", stream], more].concat())
    }

    pub(crate) fn recv(path: &Path, stream: &str, url: &str, more: &[&str]) -> Relay {
        let path = path.to_str().unwrap();
        Relay::start(&[&["recv", path, url, "--stream", stream], more].concat())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills the process, unless it has ended.
    pub(crate) fn kill(&mut self) {
        self.assert_runs();
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts the same command again.
    pub(crate) fn restart(&mut self) {
        self.child = run(&self.args, &self.variables, &self.log);
    }

    pub(crate) fn signal(&self, signal: i32) {
        // SAFETY: the child was not waited for, so the id is its own.
        assert_eq!(unsafe { libc::kill(self.child.id() as i32, signal) }, 0);
    }

    /// What it has said.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub(crate) fn assert_runs(&mut self) {
        if let Some(status) = self.child.try_wait().unwrap() {
            panic!("{:?} ended: {status}\n{}", self.args, self.said());
        }
    }

    /// Waits until it ends by itself.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let mut ended = None;
        until(&format!("{:?} ends\n{}", self.args, self.said()), || {
            ended = self.child.try_wait().unwrap();
            ended.is_some()
        });
        ended.unwrap()
    }

    /// Waits until it ends with this code, and has said this.
    #[track_caller]
    pub(crate) fn fails(&mut self, code: i32, said: &str) {
        let status = self.wait();
        let log = self.said();
        assert_eq!(status.code(), Some(code), "{log}");
        assert!(log.contains(said), "{said:?} is not in: {log}");
    }
}

fn run(args: &[String], variables: &[(String, String)], log: &Path) -> Child {
    let log = std::fs::File::options()
        .append(true)
        .create(true)
        .open(log)
        .unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_shmpipe-nats"));
    command
        .args(args)
        .env_remove("NATS_TOKEN")
        .env_remove("NATS_PASSWORD")
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log);
    spawn(&mut command)
}

impl Drop for Relay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{:?} said:\n{}", self.args, self.said());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
