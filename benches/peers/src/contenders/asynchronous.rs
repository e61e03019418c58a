//! Contenders whose ends are tasks: our async handles, and tokio's sockets and pipes.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use shmpipe::asynchronous::{AsyncConsumer, AsyncProducer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt, FuturesAsyncWriteCompatExt};

use super::{ANY, Contender, shmpipe::Ring};
use crate::channel::{Channel, ReceiverAsync, SenderAsync, Spec};
use crate::figures::Kind;
use crate::job::tasks::runtime;
use crate::run::{Run, processes_async};

/// An end by the traits of tokio.
pub(crate) struct Task<T>(T);

impl<T: AsyncWrite + Unpin> SenderAsync for Task<T> {
    async fn send(&mut self, block: &[u8]) {
        self.0.write_all(block).await.unwrap();
    }
}

impl<T: AsyncRead + Unpin> ReceiverAsync for Task<T> {
    async fn receive(&mut self, block: &mut [u8]) {
        self.0.read_exact(block).await.unwrap();
    }
}

/// Every contender, ours first.
pub(crate) fn all() -> [Contender; 3] {
    let entry = |name, kind, run| Contender {
        name,
        kind,
        run,
        most: ANY,
    };
    [
        entry(
            "shmpipe, async",
            Kind::Ours,
            processes_async::<Handles> as Run,
        ),
        entry(
            "Unix socket, tokio",
            Kind::Kernel,
            processes_async::<Sockets>,
        ),
        entry("pipe, tokio", Kind::Kernel, processes_async::<Pipe>),
    ]
}

/// Our async handles.
pub(crate) struct Handles(Ring);

impl Channel for Handles {
    type Sender = Task<Compat<AsyncProducer>>;
    type Receiver = Task<Compat<AsyncConsumer>>;

    fn open(spec: &Spec) -> io::Result<Handles> {
        Ring::open(spec).map(Handles)
    }

    fn sender(self) -> io::Result<Self::Sender> {
        let producer = AsyncProducer::new(self.0.sender()?);
        Ok(Task(producer.compat_write()))
    }

    fn receiver(self) -> io::Result<Self::Receiver> {
        let consumer = AsyncConsumer::new(self.0.receiver()?);
        Ok(Task(consumer.compat()))
    }
}

/// A pair of Unix stream sockets.
pub(crate) struct Sockets(UnixStream, UnixStream);

/// A socket of the executor of this process.
pub(super) fn registered(socket: UnixStream) -> io::Result<tokio::net::UnixStream> {
    socket.set_nonblocking(true)?;
    let _guard = runtime().enter();
    tokio::net::UnixStream::from_std(socket)
}

impl Channel for Sockets {
    type Sender = Task<tokio::net::UnixStream>;
    type Receiver = Task<tokio::net::UnixStream>;

    fn open(_: &Spec) -> io::Result<Sockets> {
        let (one, other) = UnixStream::pair()?;
        Ok(Sockets(one, other))
    }

    fn sender(self) -> io::Result<Self::Sender> {
        registered(self.0).map(Task)
    }

    fn receiver(self) -> io::Result<Self::Receiver> {
        registered(self.1).map(Task)
    }
}

/// A pipe of the default size, 64 KiB.
pub(crate) struct Pipe(OwnedFd, OwnedFd);

impl Channel for Pipe {
    type Sender = Task<pipe::Sender>;
    type Receiver = Task<pipe::Receiver>;

    fn open(_: &Spec) -> io::Result<Pipe> {
        let (reader, writer) = io::pipe()?;
        Ok(Pipe(writer.into(), reader.into()))
    }

    fn sender(self) -> io::Result<Self::Sender> {
        let _guard = runtime().enter();
        pipe::Sender::from_owned_fd(self.0).map(Task)
    }

    fn receiver(self) -> io::Result<Self::Receiver> {
        let _guard = runtime().enter();
        pipe::Receiver::from_owned_fd(self.1).map(Task)
    }
}
