//! A network that a test cuts: a proxy before the server.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// What the network does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Network {
    Passes = 0,
    /// Nothing arrives, and nobody is told.
    Silent = 1,
    /// Connections break, and none can be made.
    Cut = 2,
    /// The test is over.
    Ended = 3,
}

pub(crate) struct Proxy {
    pub(crate) port: u16,
    mode: Arc<AtomicU8>,
    acceptor: Option<JoinHandle<()>>,
}

const LOOK: Duration = Duration::from_millis(5);

impl Proxy {
    pub(crate) fn new(server: u16) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let mode = Arc::new(AtomicU8::new(Network::Passes as u8));
        let accepts = Arc::clone(&mode);
        let acceptor = std::thread::spawn(move || accept(&listener, server, &accepts));
        Proxy {
            port,
            mode,
            acceptor: Some(acceptor),
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    pub(crate) fn set(&self, network: Network) {
        self.mode.store(network as u8, Ordering::Relaxed);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.set(Network::Ended);
        let _ = self.acceptor.take().unwrap().join();
    }
}

fn is(mode: &AtomicU8, network: Network) -> bool {
    mode.load(Ordering::Relaxed) == network as u8
}

fn accept(listener: &TcpListener, server: u16, mode: &Arc<AtomicU8>) {
    let mut pipes = Vec::new();
    while !is(mode, Network::Ended) {
        match listener.accept() {
            Ok((client, _)) if is(mode, Network::Passes) => {
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else {
                    continue;
                };
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let mode = Arc::clone(mode);
                    pipes.push(std::thread::spawn(move || pipe(from, to, &mode)));
                }
            }
            Ok(_) => {} // dropped
            Err(_) => std::thread::sleep(LOOK),
        }
    }
    for pipe in pipes {
        let _ = pipe.join();
    }
}

fn pipe(mut from: TcpStream, mut to: TcpStream, mode: &AtomicU8) {
    from.set_nonblocking(false).unwrap();
    from.set_read_timeout(Some(LOOK)).unwrap();
    to.set_nonblocking(false).unwrap();
    to.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut bytes = [0; 16 << 10];
    loop {
        if is(mode, Network::Cut) || is(mode, Network::Ended) {
            break;
        }
        if is(mode, Network::Silent) {
            std::thread::sleep(LOOK);
            continue;
        }
        match from.read(&mut bytes) {
            Ok(0) => break,
            Ok(len) => {
                if to.write_all(&bytes[..len]).is_err() {
                    break;
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => break,
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
