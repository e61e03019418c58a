//! Answers system calls of another process in the kernel's place
//! (seccomp_unotify(2)): counts those that are asked about, and lets chosen
//! ones fail.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use libc::{c_int, c_void};

use crate::common::filter::{self, CALL};
use crate::table::CALLS;

/// A call that the crate never makes: by it a target says that what follows
/// counts (1), or no longer does (0).
const MARK: libc::c_long = libc::SYS_sched_get_priority_max;

/// Which calls fail, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    /// Index in [`CALLS`].
    pub(crate) call: usize,
    pub(crate) errno: i32,
    /// Fails from this one on, counted from 0.
    pub(crate) first: u64,
    /// Whether those after it fail too.
    pub(crate) lasting: bool,
}

/// Puts this process, and what it starts, under a filter that asks about
/// `call`, or about all of [`CALLS`]; sends the descriptor by which it asks.
/// Safe after fork(2). `false` where the kernel cannot do it.
pub(crate) fn submit(call: Option<usize>, line: RawFd) -> bool {
    let mut program = [filter::give(libc::SECCOMP_RET_ALLOW); 2 * 40];
    let mut len = 0;
    let mut put = |op| {
        program[len] = op;
        len += 1;
    };
    put(filter::load(CALL));
    let asked = CALLS
        .iter()
        .enumerate()
        .filter(|(index, _)| call.is_none_or(|call| call == *index))
        .flat_map(|(_, call)| call.numbers);
    for &number in asked.chain([&MARK]) {
        put(filter::unless_equal(number as u32, 1));
        put(filter::give(libc::SECCOMP_RET_USER_NOTIF));
    }
    let program = libc::sock_fprog {
        len: len as u16 + 1,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: integers, of the width that the kernel reads.
    unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1_u64, 0_u64, 0_u64, 0_u64) };
    // SAFETY: the filter and its program live until the kernel has copied them.
    let listener = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
            &raw const program,
        )
    };
    listener >= 0 && send_descriptor(line, listener as RawFd)
}

/// Says that what follows counts, or no longer does.
pub(crate) fn mark(counts: bool) {
    // SAFETY: an integer.
    unsafe { libc::syscall(MARK, libc::c_long::from(counts)) };
}

/// A control message of one descriptor, which stands right behind the header
/// (cmsg(3)): its size is a multiple of every alignment there.
#[repr(C)]
struct Control {
    header: libc::cmsghdr,
    descriptor: RawFd,
}

impl Control {
    fn new(descriptor: RawFd) -> Control {
        // SAFETY: integers, for which zero is a value.
        let mut header: libc::cmsghdr = unsafe { std::mem::zeroed() };
        header.cmsg_level = libc::SOL_SOCKET;
        header.cmsg_type = libc::SCM_RIGHTS;
        header.cmsg_len = (size_of::<libc::cmsghdr>() + size_of::<RawFd>()) as _;
        Control { header, descriptor }
    }
}

/// Sends `descriptor` and closes it here.
fn send_descriptor(line: RawFd, descriptor: RawFd) -> bool {
    let mut control = Control::new(descriptor);
    let mut byte = 0_u8;
    let mut part = part(&mut byte);
    let message = message(&mut control, &mut part);
    // SAFETY: the message and what it points to outlive the call.
    let sent = unsafe { libc::sendmsg(line, &raw const message, 0) };
    // SAFETY: the descriptor is ours, and closed once.
    unsafe { libc::close(descriptor) };
    sent == 1
}

/// What [`send_descriptor`] sent; `None` if the other side has ended.
fn receive_descriptor(line: &UnixStream) -> Option<OwnedFd> {
    let mut control = Control::new(-1);
    let mut byte = 0_u8;
    let mut part = part(&mut byte);
    let mut message = message(&mut control, &mut part);
    // SAFETY: the message and what it points to outlive the call.
    let got = unsafe { libc::recvmsg(line.as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC) };
    if got != 1 || message.msg_controllen == 0 {
        return None;
    }
    // SAFETY: one descriptor, new and nobody else's: only that is ever sent.
    Some(unsafe { OwnedFd::from_raw_fd(control.descriptor) })
}

fn part(byte: &mut u8) -> libc::iovec {
    libc::iovec {
        iov_base: (&raw mut *byte).cast::<c_void>(),
        iov_len: 1,
    }
}

fn message(control: &mut Control, part: &mut libc::iovec) -> libc::msghdr {
    // SAFETY: integers and pointers, for which zero is a value.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = part;
    message.msg_iovlen = 1;
    message.msg_control = (&raw mut *control).cast();
    message.msg_controllen = size_of::<Control>() as _;
    message
}

/// The line on which a target sends its listener.
pub(crate) struct Line {
    ours: UnixStream,
    theirs: UnixStream,
}

impl Line {
    pub(crate) fn new() -> Line {
        let (ours, theirs) = UnixStream::pair().unwrap();
        Line { ours, theirs }
    }

    /// The end for the target, which it inherits.
    pub(crate) fn end(&self) -> RawFd {
        self.theirs.as_raw_fd()
    }
}

/// What came of a target's calls.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// How many there were of each of [`CALLS`].
    pub(crate) counts: [u64; CALLS.len()],
    /// The number and the arguments of those that failed.
    pub(crate) failed: Vec<(libc::c_long, [u64; 6])>,
    /// Some process of the target did not end in time.
    pub(crate) hung: bool,
}

impl Seen {
    pub(crate) fn failed(&self, is: impl Fn(libc::c_long, &[u64; 6]) -> bool) -> bool {
        self.failed.iter().any(|(number, args)| is(*number, args))
    }
}

/// Serves a target until all of its processes have ended.
pub(crate) struct Supervisor {
    listener: OwnedFd,
    fault: Option<Fault>,
    counting: bool,
    seen: Seen,
}

impl Supervisor {
    /// `counting`: from the start on, not from the target's mark on. `None`
    /// where the kernel does not do it.
    pub(crate) fn new(line: Line, fault: Option<Fault>, counting: bool) -> Option<Supervisor> {
        drop(line.theirs);
        Some(Supervisor {
            listener: receive_descriptor(&line.ours)?,
            fault,
            counting,
            seen: Seen::default(),
        })
    }

    pub(crate) fn serve(mut self, limit: Duration) -> Seen {
        let end = Instant::now() + limit;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let mut asked = libc::pollfd {
                fd: self.listener.as_raw_fd(),
                events: libc::POLLIN,
                revents: 0,
            };
            // SAFETY: one pollfd, which outlives the call.
            match unsafe { libc::poll(&raw mut asked, 1, left.as_millis() as c_int + 1) } {
                0 => {
                    self.seen.hung = true;
                    return self.seen; // to drop the listener fails what waits
                }
                1 if asked.revents & libc::POLLIN != 0 => self.answer(),
                1 => return self.seen, // all have ended
                _ => {}
            }
        }
    }

    fn answer(&mut self) {
        // SAFETY: integers, for which zero is a value.
        let mut asked: libc::seccomp_notif = unsafe { std::mem::zeroed() };
        if !self.request(libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut asked) {
            return; // the target was killed, or a signal came
        }
        // SAFETY: as above.
        let mut answer: libc::seccomp_notif_resp = unsafe { std::mem::zeroed() };
        answer.id = asked.id;
        match self.judge(&asked.data) {
            Some(error) => answer.error = error,
            None => answer.flags = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32,
        }
        self.request(libc::SECCOMP_IOCTL_NOTIF_SEND, &raw mut answer);
    }

    fn request<T>(&self, request: libc::Ioctl, argument: *mut T) -> bool {
        // SAFETY: the request reads and writes a T, which the callers pass.
        unsafe { libc::ioctl(self.listener.as_raw_fd(), request, argument) == 0 }
    }

    /// The error that the call is to fail with, if it is.
    fn judge(&mut self, data: &libc::seccomp_data) -> Option<i32> {
        let number = libc::c_long::from(data.nr);
        if number == MARK {
            self.counting = data.args[0] == 1;
            return Some(0);
        }
        if !self.counting {
            return None;
        }
        let call = CALLS.iter().position(|call| call.is(number, &data.args))?;
        let nth = self.seen.counts[call];
        self.seen.counts[call] += 1;
        let fault = self.fault.filter(|fault| {
            fault.call == call && (nth == fault.first || fault.lasting && nth > fault.first)
        })?;
        if self.seen.failed.len() < 64 {
            self.seen.failed.push((number, data.args));
        }
        Some(-fault.errno)
    }
}

/// A file in memory, for what a process says.
pub(crate) fn scratch(bytes: &[u8]) -> File {
    // SAFETY: a string and a flag.
    let fd = unsafe { libc::memfd_create(c"faults".as_ptr(), libc::MFD_CLOEXEC) };
    assert!(fd >= 0, "memfd_create: {}", io::Error::last_os_error());
    // SAFETY: a new descriptor, nobody else's.
    let file = unsafe { File::from_raw_fd(fd) };
    // By pwrite(2), which is not swept.
    file.write_all_at(bytes, 0).unwrap();
    file
}

pub(crate) fn rewind(file: &mut File) {
    io::Seek::rewind(file).unwrap();
}

/// What was written to a file in memory.
pub(crate) fn written(mut file: File) -> Vec<u8> {
    let mut bytes = Vec::new();
    rewind(&mut file);
    file.read_to_end(&mut bytes).unwrap();
    bytes
}

/// Makes `to` lead where `from` does, in a forked child.
pub(crate) fn redirect(from: BorrowedFd<'_>, to: RawFd) {
    // SAFETY: integers.
    assert!(unsafe { libc::dup2(from.as_raw_fd(), to) } >= 0);
}
