//! Busy loops beside a measurement, which want the same processors.
#![allow(unsafe_code)] // prctl, kill, alarm

use std::time::Duration;

use crate::sys;

/// Processes that compute until this is dropped. They also end with the process that started
/// them, however it ends.
pub(crate) struct Crowd(Vec<libc::pid_t>);

impl Crowd {
    /// Starts `loops` of them on each processor. This process must have one thread.
    pub(crate) fn start(loops: usize, cpus: &[usize]) -> Crowd {
        let parent = std::process::id();
        let mut crowd = Crowd(Vec::new());
        for &cpu in cpus {
            for _ in 0..loops {
                let one = sys::fork(|| {
                    end_with(parent);
                    sys::pin(cpu);
                    compute();
                });
                crowd.0.push(one);
            }
        }
        crowd
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for &one in &self.0 {
            // SAFETY: the child is not reaped yet, so the pid is its own.
            unsafe { libc::kill(one, libc::SIGKILL) };
        }
        // A child that was killed is gone in far less than this.
        let _ = sys::reap(&self.0, Duration::from_secs(5));
    }
}

/// Asks the kernel to kill this process when `parent` ends.
fn end_with(parent: u32) {
    // SAFETY: numbers.
    let asked = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    // The parent may have ended before the call.
    if asked != 0 || std::os::unix::process::parent_id() != parent {
        sys::end(1);
    }
}

/// Keeps a processor busy, without a pause instruction, which would give way to others. Ends
/// this process after a minute: no measurement takes so long.
fn compute() -> ! {
    // SAFETY: a number.
    unsafe { libc::alarm(60) };
    let mut count = 0u64;
    loop {
        count = std::hint::black_box(count.wrapping_add(1));
    }
}

#[cfg(test)]
mod tests {
    use std::io::PipeReader;
    use std::os::fd::AsRawFd;

    use super::*;

    /// Whether all processes with a copy of the other end have ended, after `limit` at most.
    fn ended(pipe: &PipeReader, limit: Duration) -> bool {
        let mut poll = libc::pollfd {
            fd: pipe.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one pollfd.
        unsafe { libc::poll(&raw mut poll, 1, limit.as_millis() as libc::c_int) };
        poll.revents & libc::POLLHUP != 0
    }

    #[test]
    fn the_loops_end_when_the_crowd_is_dropped() {
        let (reader, writer) = std::io::pipe().unwrap();
        let cpus = &sys::allowed_cpus()[..1];
        let crowd = Crowd::start(2, cpus);
        drop(writer); // only the loops have it now
        assert!(!ended(&reader, Duration::from_millis(50)));
        drop(crowd);
        assert!(ended(&reader, Duration::from_secs(20)));
    }

    #[test]
    fn the_loops_end_when_the_program_is_killed() {
        let (reader, writer) = std::io::pipe().unwrap();
        let cpus = &sys::allowed_cpus()[..1];
        let program = sys::fork(|| {
            let _crowd = Crowd::start(2, cpus);
            // SAFETY: kills this process, which is a child of the test.
            unsafe { libc::kill(std::process::id().cast_signed(), libc::SIGKILL) };
        });
        drop(writer);
        assert!(sys::reap(&[program], Duration::from_secs(20)).is_err());
        assert!(ended(&reader, Duration::from_secs(20)));
    }
}
