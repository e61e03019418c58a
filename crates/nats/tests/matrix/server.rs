//! A broker of a test's own: a free port, a store of its own.

use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use async_nats::ConnectOptions;

use crate::{Folder, spawn, until};

pub(crate) struct Server {
    address: String,
    pub(crate) port: u16,
    /// The network namespace that it runs in.
    namespace: Option<String>,
    folder: Folder,
    child: Option<Child>,
    config: String,
}

/// The server's program.
pub(crate) fn program() -> String {
    std::env::var("SHMPIPE_NATS_SERVER").unwrap_or_else(|_| {
        let debian = "/usr/sbin/nats-server";
        let found = std::path::Path::new(debian).exists();
        if found { debian } else { "nats-server" }.to_owned()
    })
}

/// The server's version.
pub(crate) fn version() -> [u32; 3] {
    let output = Command::new(program()).arg("--version").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let numbers = text.trim().rsplit_once('v').unwrap().1.split(['.', '-']);
    let numbers: Vec<u32> = numbers.map_while(|number| number.parse().ok()).collect();
    numbers[..3].try_into().unwrap()
}

pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

impl Server {
    /// A server with JetStream.
    pub(crate) fn new() -> Server {
        Server::with("")
    }

    /// A server with JetStream and these settings.
    pub(crate) fn with(settings: &str) -> Server {
        Server::prepared(&format!("jetstream {{ store_dir: STORE }}\n{settings}"))
    }

    /// A server with these settings, where `STORE` is its folder.
    pub(crate) fn prepared(settings: &str) -> Server {
        Server::placed(settings, "127.0.0.1", None)
    }

    /// A server with JetStream in a network namespace, at this address.
    pub(crate) fn in_namespace(namespace: &str, address: &str) -> Server {
        Server::placed(
            "jetstream { store_dir: STORE }",
            address,
            Some(namespace.to_owned()),
        )
    }

    fn placed(settings: &str, address: &str, namespace: Option<String>) -> Server {
        let folder = Folder::new();
        let store = folder.path().join("store");
        let config = settings.replace("STORE", &format!("{store:?}"));
        let mut server = Server {
            address: address.to_owned(),
            namespace,
            port: free_port(),
            folder,
            child: None,
            config,
        };
        server.start();
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://{}:{}", self.address, self.port)
    }

    /// Starts the server, again if it was killed, with the same store.
    pub(crate) fn start(&mut self) {
        let config = self.folder.path().join("server.conf");
        let text = format!(
            "listen: \"{}:{}\"\n{}",
            self.address, self.port, self.config
        );
        std::fs::write(&config, text).unwrap();
        let log = std::fs::File::create(self.folder.path().join("log")).unwrap();
        let mut command = match &self.namespace {
            None => Command::new(program()),
            Some(namespace) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", namespace]).arg(program());
                command
            }
        };
        command
            .arg("-c")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        self.child = Some(spawn(&mut command));
        until("the server answers: apt-get install nats-server", || {
            self.answers()
        });
    }

    pub(crate) fn answers(&mut self) -> bool {
        if let Some(child) = &mut self.child
            && let Some(status) = child.try_wait().unwrap()
        {
            let log = std::fs::read_to_string(self.folder.path().join("log"));
            panic!("the server ended: {status}\n{}", log.unwrap_or_default());
        }
        let Ok(stream) = TcpStream::connect((&self.address[..], self.port)) else {
            return false;
        };
        stream
            .set_read_timeout(Some(Duration::from_secs(1)))
            .unwrap();
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).is_ok() && line.starts_with("INFO ")
    }

    pub(crate) fn is_up(&self) -> bool {
        self.child.is_some()
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Stops or continues the process.
    pub(crate) fn signal(&self, signal: i32) {
        let pid = self.child.as_ref().unwrap().id() as i32;
        // SAFETY: the child was not waited for, so the id is its own.
        assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
    }

    /// Removes the store of a killed server.
    pub(crate) fn wipe(&mut self) {
        assert!(self.child.is_none());
        std::fs::remove_dir_all(self.folder.path().join("store")).unwrap();
    }

    /// A client of the test's own.
    pub(crate) fn client<T>(&self, act: impl AsyncFnOnce(async_nats::Client) -> T) -> T {
        client(&self.url(), act)
    }
}

impl Server {
    /// A client of the test's own, as this user.
    pub(crate) fn client_as<T>(
        &self,
        user: &str,
        password: &str,
        act: impl AsyncFnOnce(async_nats::Client) -> T,
    ) -> T {
        let options = ConnectOptions::with_user_and_password(user.to_owned(), password.to_owned());
        connected(&self.url(), options, act)
    }
}

/// Runs `act` with a client of this server.
pub(crate) fn client<T>(url: &str, act: impl AsyncFnOnce(async_nats::Client) -> T) -> T {
    connected(url, ConnectOptions::new(), act)
}

fn connected<T>(
    url: &str,
    options: ConnectOptions,
    act: impl AsyncFnOnce(async_nats::Client) -> T,
) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let client = options.connect(url).await.unwrap();
        act(client).await
    })
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
