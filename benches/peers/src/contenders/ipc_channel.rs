//! ipc-channel: its channel of bytes, which does not serialise.

use std::io;

use ipc_channel::ipc::{IpcBytesReceiver, IpcBytesSender, bytes_channel};

use crate::channel::{Channel, Receiver, Sender, Spec};

pub(crate) struct Bytes(IpcBytesSender, IpcBytesReceiver);

impl Channel for Bytes {
    type Sender = IpcBytesSender;
    type Receiver = IpcBytesReceiver;

    fn open(_: &Spec) -> io::Result<Bytes> {
        let (sender, receiver) = bytes_channel()?;
        Ok(Bytes(sender, receiver))
    }

    fn sender(self) -> io::Result<IpcBytesSender> {
        Ok(self.0)
    }

    fn receiver(self) -> io::Result<IpcBytesReceiver> {
        Ok(self.1)
    }
}

impl Sender for IpcBytesSender {
    fn send(&mut self, block: &[u8]) {
        IpcBytesSender::send(self, block).unwrap();
    }
}

impl Receiver for IpcBytesReceiver {
    fn receive(&mut self, block: &mut [u8]) {
        block.copy_from_slice(&self.recv().unwrap());
    }
}
