//! The traits of tokio on the async handles, with the feature `tokio`. Each call is that of
//! `futures-io`.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{AsyncConsumer, AsyncProducer};

/// Calls the implementation for `futures_io`. 0 bytes mean the end of the stream.
impl AsyncRead for AsyncConsumer {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let room = bytes.initialize_unfilled();
        let read = ready!(futures_io::AsyncRead::poll_read(self, context, room))?;
        bytes.advance(read);
        Poll::Ready(Ok(()))
    }
}

/// Calls the implementation for `futures_io`. `shutdown` finishes the stream, as
/// [`Producer::close`](crate::Producer::close) does.
impl AsyncWrite for AsyncProducer {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        futures_io::AsyncWrite::poll_write(self, context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        futures_io::AsyncWrite::poll_write_vectored(self, context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        futures_io::AsyncWrite::poll_flush(self, context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        futures_io::AsyncWrite::poll_close(self, context)
    }
}
