//! Message queues: System V and POSIX. Blocks are cut into messages of the largest size
//! that both allow by default.
#![allow(unsafe_code)] // the calls of C

use std::ffi::CString;
use std::io;
use std::sync::Arc;

use crate::channel::{Channel, Receiver, Sender, Spec};
use crate::name::Name;

/// The default of `kernel.msgmax` and of `fs.mqueue.msgsize_default`.
const PIECE: usize = 8192;
/// The default of `fs.mqueue.msg_max`.
const MESSAGES: libc::c_long = 10;
/// The size that a System V queue asks for; the kernel may refuse it.
const HOLD: libc::msglen_t = 1 << 20;

fn done(result: libc::ssize_t) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// The id of a queue, and the process that made it.
pub(crate) struct SystemV(Arc<Queue>);

struct Queue {
    id: libc::c_int,
    maker: u32,
}

/// An end of a queue, memory for one message, and the number of calls so far.
pub(crate) struct SystemVEnd(libc::c_int, Box<Message>, u64);

#[repr(C)]
struct Message {
    kind: libc::c_long,
    bytes: [u8; PIECE],
}

impl Drop for Queue {
    fn drop(&mut self) {
        if self.maker == std::process::id() {
            // SAFETY: a queue of ours; nothing is written to a null pointer.
            unsafe { libc::msgctl(self.id, libc::IPC_RMID, std::ptr::null_mut()) };
        }
    }
}

impl SystemV {
    fn end(&self) -> SystemVEnd {
        SystemVEnd(
            self.0.id,
            Box::new(Message {
                kind: 1,
                bytes: [0; PIECE],
            }),
            0,
        )
    }
}

impl Channel for SystemV {
    type Sender = SystemVEnd;
    type Receiver = SystemVEnd;

    fn open(_: &Spec) -> io::Result<SystemV> {
        // SAFETY: numbers.
        let id = unsafe { libc::msgget(libc::IPC_PRIVATE, 0o600) };
        if id < 0 {
            return Err(io::Error::last_os_error());
        }
        let queue = Queue {
            id,
            maker: std::process::id(),
        };
        // SAFETY: plain integers, for which zeros are a value.
        let mut what: libc::msqid_ds = unsafe { std::mem::zeroed() };
        // SAFETY: `what` is a msqid_ds to write to.
        if unsafe { libc::msgctl(id, libc::IPC_STAT, &raw mut what) } == 0 {
            what.msg_qbytes = HOLD;
            // The kernel refuses this to a process without privilege. The queue then keeps
            // its size.
            // SAFETY: `what` is a msqid_ds.
            unsafe { libc::msgctl(id, libc::IPC_SET, &raw mut what) };
        }
        Ok(SystemV(Arc::new(queue)))
    }

    fn sender(self) -> io::Result<SystemVEnd> {
        Ok(self.end())
    }

    fn receiver(self) -> io::Result<SystemVEnd> {
        Ok(self.end())
    }
}

impl Sender for SystemVEnd {
    fn send(&mut self, block: &[u8]) {
        for piece in block.chunks(PIECE) {
            self.2 += 1;
            self.1.bytes[..piece.len()].copy_from_slice(piece);
            let message = (&raw const *self.1).cast();
            // SAFETY: a message of at least that many bytes after its kind.
            let sent = unsafe { libc::msgsnd(self.0, message, piece.len(), 0) };
            done(sent as libc::ssize_t).unwrap();
        }
    }

    fn calls(&self) -> Option<u64> {
        Some(self.2)
    }
}

impl Receiver for SystemVEnd {
    fn receive(&mut self, block: &mut [u8]) {
        for piece in block.chunks_mut(PIECE) {
            self.2 += 1;
            let message = (&raw mut *self.1).cast();
            // SAFETY: room for that many bytes after the kind.
            let len = done(unsafe { libc::msgrcv(self.0, message, PIECE, 0, 0) }).unwrap();
            assert_eq!(len, piece.len());
            piece.copy_from_slice(&self.1.bytes[..len]);
        }
    }

    fn calls(&self) -> Option<u64> {
        Some(self.2)
    }
}

/// A POSIX queue: unlinked at once, and reached by its descriptor.
pub(crate) struct Posix(libc::mqd_t);

pub(crate) struct PosixEnd(libc::mqd_t, Box<[u8; PIECE]>, u64);

impl Drop for Posix {
    fn drop(&mut self) {
        // SAFETY: a descriptor of ours.
        unsafe { libc::mq_close(self.0) };
    }
}

impl Posix {
    fn end(self) -> PosixEnd {
        let queue = self.0;
        std::mem::forget(self); // the end has it now
        PosixEnd(queue, Box::new([0; PIECE]), 0)
    }
}

impl Channel for Posix {
    type Sender = PosixEnd;
    type Receiver = PosixEnd;

    fn open(_: &Spec) -> io::Result<Posix> {
        // SAFETY: plain integers, for which zeros are a value.
        let mut attributes: libc::mq_attr = unsafe { std::mem::zeroed() };
        attributes.mq_maxmsg = MESSAGES;
        attributes.mq_msgsize = PIECE as libc::c_long;
        let name = CString::new(format!("/{}", Name::new().as_str()))?;
        let flags = libc::O_CREAT | libc::O_EXCL | libc::O_RDWR;
        // SAFETY: a string that ends with zero, and a mq_attr.
        let queue = unsafe { libc::mq_open(name.as_ptr(), flags, 0o600, &raw const attributes) };
        if queue < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a string that ends with zero.
        unsafe { libc::mq_unlink(name.as_ptr()) };
        Ok(Posix(queue))
    }

    fn sender(self) -> io::Result<PosixEnd> {
        Ok(self.end())
    }

    fn receiver(self) -> io::Result<PosixEnd> {
        Ok(self.end())
    }
}

impl Sender for PosixEnd {
    fn send(&mut self, block: &[u8]) {
        for piece in block.chunks(PIECE) {
            self.2 += 1;
            // SAFETY: `piece` is as long as is said.
            let sent = unsafe { libc::mq_send(self.0, piece.as_ptr().cast(), piece.len(), 0) };
            done(sent as libc::ssize_t).unwrap();
        }
    }

    fn calls(&self) -> Option<u64> {
        Some(self.2)
    }
}

impl Receiver for PosixEnd {
    fn receive(&mut self, block: &mut [u8]) {
        for piece in block.chunks_mut(PIECE) {
            self.2 += 1;
            let room = self.1.as_mut_ptr().cast();
            // SAFETY: room for a message of the largest size.
            let len = done(unsafe { libc::mq_receive(self.0, room, PIECE, std::ptr::null_mut()) })
                .unwrap();
            assert_eq!(len, piece.len());
            piece.copy_from_slice(&self.1[..len]);
        }
    }

    fn calls(&self) -> Option<u64> {
        Some(self.2)
    }
}
