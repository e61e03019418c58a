//! The kernel's byte streams.
#![allow(unsafe_code)] // mkfifo, fcntl

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;

use crate::channel::{Channel, Receiver, Sender, Spec};
use crate::name::Name;

/// A descriptor, and the number of system calls made with it.
pub(crate) struct Counted<F>(F, u64);

impl<F> Counted<F> {
    pub(super) fn into_inner(self) -> F {
        self.0
    }
}

impl<F: Write> Sender for Counted<F> {
    #[inline(always)]
    fn send(&mut self, mut block: &[u8]) {
        while !block.is_empty() {
            self.1 += 1;
            let len = self.0.write(block).unwrap();
            block = &block[len..];
        }
    }

    fn calls(&self) -> Option<u64> {
        Some(self.1)
    }
}

impl<F: Read> Receiver for Counted<F> {
    #[inline(always)]
    fn receive(&mut self, block: &mut [u8]) {
        let mut len = 0;
        while len < block.len() {
            self.1 += 1;
            let more = self.0.read(&mut block[len..]).unwrap();
            assert_ne!(more, 0, "the stream has ended");
            len += more;
        }
    }

    fn calls(&self) -> Option<u64> {
        Some(self.1)
    }
}

/// A pipe of the default size, 64 KiB.
pub(crate) struct Pipe(OwnedFd, OwnedFd);

/// A pipe of the largest size that an ordinary user may have.
pub(crate) struct LargePipe(Pipe);

/// A FIFO, of 64 KiB.
pub(crate) struct Fifo(
    File,
    File,
    #[expect(dead_code, reason = "goes with it")] Name,
);

/// A pair of Unix stream sockets.
pub(crate) struct Unix(UnixStream, UnixStream);

/// A connection over the loopback interface, with `TCP_NODELAY`.
pub(crate) struct Tcp(TcpStream, TcpStream);

impl Channel for Pipe {
    type Sender = Counted<File>;
    type Receiver = Counted<File>;

    fn open(_: &Spec) -> io::Result<Pipe> {
        let (reader, writer) = io::pipe()?;
        Ok(Pipe(writer.into(), reader.into()))
    }

    fn sender(self) -> io::Result<Counted<File>> {
        Ok(Counted(self.0.into(), 0))
    }

    fn receiver(self) -> io::Result<Counted<File>> {
        Ok(Counted(self.1.into(), 0))
    }
}

impl Channel for LargePipe {
    type Sender = Counted<File>;
    type Receiver = Counted<File>;

    fn open(spec: &Spec) -> io::Result<LargePipe> {
        let pipe = Pipe::open(spec)?;
        // SAFETY: two numbers.
        if unsafe { libc::fcntl(pipe.0.as_raw_fd(), libc::F_SETPIPE_SZ, 1 << 20) } < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(LargePipe(pipe))
    }

    fn sender(self) -> io::Result<Counted<File>> {
        self.0.sender()
    }

    fn receiver(self) -> io::Result<Counted<File>> {
        self.0.receiver()
    }
}

impl Channel for Fifo {
    type Sender = Counted<File>;
    type Receiver = Counted<File>;

    fn open(_: &Spec) -> io::Result<Fifo> {
        let name = Name::new();
        let path = CString::new(name.path().as_os_str().as_bytes())?;
        // SAFETY: a string that ends with zero.
        if unsafe { libc::mkfifo(path.as_ptr(), 0o600) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // Opened for both, so that neither open waits for the other.
        let mut both = File::options();
        both.read(true).write(true);
        Ok(Fifo(both.open(name.path())?, both.open(name.path())?, name))
    }

    fn sender(self) -> io::Result<Counted<File>> {
        Ok(Counted(self.0, 0))
    }

    fn receiver(self) -> io::Result<Counted<File>> {
        Ok(Counted(self.1, 0))
    }
}

impl Channel for Unix {
    type Sender = Counted<UnixStream>;
    type Receiver = Counted<UnixStream>;

    fn open(_: &Spec) -> io::Result<Unix> {
        let (one, other) = UnixStream::pair()?;
        Ok(Unix(one, other))
    }

    fn sender(self) -> io::Result<Counted<UnixStream>> {
        Ok(Counted(self.0, 0))
    }

    fn receiver(self) -> io::Result<Counted<UnixStream>> {
        Ok(Counted(self.1, 0))
    }
}

impl Channel for Tcp {
    type Sender = Counted<TcpStream>;
    type Receiver = Counted<TcpStream>;

    fn open(_: &Spec) -> io::Result<Tcp> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let one = TcpStream::connect(listener.local_addr()?)?;
        let (other, _) = listener.accept()?;
        one.set_nodelay(true)?;
        other.set_nodelay(true)?;
        Ok(Tcp(one, other))
    }

    fn sender(self) -> io::Result<Counted<TcpStream>> {
        Ok(Counted(self.0, 0))
    }

    fn receiver(self) -> io::Result<Counted<TcpStream>> {
        Ok(Counted(self.1, 0))
    }
}
