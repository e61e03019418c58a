//! A network that a test cuts: a proxy before the server.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
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
    mode: Arc<AtomicU8>,
    gate: Arc<Mutex<Gate>>,
    port: u16,
    acceptor: Option<JoinHandle<()>>,
}

/// Where the client's bytes are held back.
enum Gate {
    Open,
    /// At a read that has this text: the first one with 1, the second with 2.
    At(&'static str, u32),
    /// What was read waits here.
    Holds,
}

impl Gate {
    /// Notes what was read.
    fn reads(&mut self, bytes: &[u8]) {
        let Gate::At(text, count) = self else {
            return;
        };
        if bytes
            .windows(text.len())
            .any(|part| part == text.as_bytes())
        {
            *count -= 1;
            if *count == 0 {
                *self = Gate::Holds;
            }
        }
    }
}

const LOOK: Duration = Duration::from_millis(5);

impl Proxy {
    pub(crate) fn new(server: u16) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let mode = Arc::new(AtomicU8::new(Network::Passes as u8));
        let gate = Arc::new(Mutex::new(Gate::Open));
        let (accepts, holds) = (Arc::clone(&mode), Arc::clone(&gate));
        let acceptor = std::thread::spawn(move || accept(&listener, server, &accepts, &holds));
        Proxy {
            mode,
            gate,
            port,
            acceptor: Some(acceptor),
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    pub(crate) fn set(&self, network: Network) {
        self.mode.store(network as u8, Ordering::Relaxed);
    }

    /// Holds back what the client says, from the read number `count` on that has this text,
    /// counted from now on.
    pub(crate) fn hold_at(&self, text: &'static str, count: u32) {
        *self.gate.lock().unwrap() = Gate::At(text, count);
    }

    pub(crate) fn holds(&self) -> bool {
        matches!(*self.gate.lock().unwrap(), Gate::Holds)
    }

    pub(crate) fn let_go(&self) {
        *self.gate.lock().unwrap() = Gate::Open;
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

fn accept(listener: &TcpListener, server: u16, mode: &Arc<AtomicU8>, gate: &Arc<Mutex<Gate>>) {
    let mut pipes = Vec::new();
    while !is(mode, Network::Ended) {
        match listener.accept() {
            Ok((client, _)) if is(mode, Network::Passes) => {
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else {
                    continue;
                };
                for (from, to, gate) in [(&client, &server, Some(gate)), (&server, &client, None)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let (mode, gate) = (Arc::clone(mode), gate.map(Arc::clone));
                    let run = move || pipe(from, to, &mode, gate.as_deref());
                    pipes.push(std::thread::spawn(run));
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

fn pipe(mut from: TcpStream, mut to: TcpStream, mode: &AtomicU8, gate: Option<&Mutex<Gate>>) {
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
                if let Some(gate) = gate {
                    gate.lock().unwrap().reads(&bytes[..len]);
                    while matches!(*gate.lock().unwrap(), Gate::Holds) && !is(mode, Network::Ended)
                    {
                        std::thread::sleep(LOOK);
                    }
                }
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
