//! Attachments: attach, detach, and what ends an attachment.

use std::fs;
use std::ptr;

use shmpipe::sysv::{self, DoubleView, Mode, SysvErrorKind};

use super::{free_address, is_mapped, keyed, kind, page, peek, poke, private};
use crate::common::{End, Fork, Segment, alone, exit_now, until};

fn sleep_for_ever() -> ! {
    loop {
        // SAFETY: waits for a signal.
        unsafe { libc::pause() };
    }
}

#[test]
fn detach_is_not_deletion() {
    alone("sysv::attachments::detach_is_not_deletion", || {
        let (key, segment) = keyed(page());
        let first = sysv::attach(segment.id).unwrap();
        assert_eq!(segment.stat().attached, 1);
        poke(first.as_ptr(), 0, 0xa5);
        let (start, len) = (first.as_ptr().addr(), first.len());
        drop(first);
        assert!(!is_mapped(start, len));
        let stat = segment.stat();
        assert_eq!(stat.attached, 0);
        assert!(stat.attach_time > 0 && stat.detach_time > 0);
        assert_eq!(stat.last_pid, std::process::id().cast_signed());
        assert!(!stat.marked_for_removal);
        let again = sysv::attach(sysv::open(key).unwrap()).unwrap();
        assert_eq!(peek(again.as_ptr(), 0), 0xa5);
    });
}

#[test]
fn two_attachments_show_the_same_bytes() {
    alone(
        "sysv::attachments::two_attachments_show_the_same_bytes",
        || {
            let segment = private(page());
            let one = sysv::attach(segment.id).unwrap();
            let two = sysv::attach_read_only(segment.id).unwrap();
            assert_eq!(segment.stat().attached, 2);
            assert_ne!(one.as_ptr(), two.as_ptr());
            poke(one.as_ptr(), 7, 77);
            assert_eq!(peek(two.as_ptr(), 7), 77);
        },
    );
}

#[test]
fn attach_at_a_chosen_address() {
    alone("sysv::attachments::attach_at_a_chosen_address", || {
        let segment = private(2 * page());
        let address = free_address(2 * page());
        let attachment = sysv::attach_at(segment.id, address).unwrap();
        assert_eq!(attachment.as_ptr(), address);

        // Taken, taken in part, not at a page.
        let inner = address.wrapping_add(page());
        let odd = free_address(4 * page()).wrapping_add(1);
        for address in [address, inner, odd] {
            let error = sysv::attach_at(segment.id, address).unwrap_err();
            let address = address.addr();
            assert_eq!(error.kind(), SysvErrorKind::BadAddress { address });
            assert!(error.to_string().contains(&format!("{address:#x}")));
        }
        assert_eq!(segment.stat().attached, 1);
    });
}

#[test]
fn read_only_attachment_cannot_be_written() {
    alone(
        "sysv::attachments::read_only_attachment_cannot_be_written",
        || {
            let segment = private(page());
            let attachment = sysv::attach_read_only(segment.id).unwrap();
            let base = attachment.as_ptr();
            let mut child = Fork::new(|| {
                let none = libc::rlimit {
                    rlim_cur: 0,
                    rlim_max: 0,
                };
                // SAFETY: a valid limit: no core file.
                unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const none) };
                poke(base, 0, 1);
                exit_now(0);
            });
            assert_eq!(child.wait(), End::Signal(libc::SIGSEGV));
            assert_eq!(peek(base, 0), 0);
        },
    );
}

#[test]
fn attachments_cross_threads() {
    fn check<T: Send + Sync + std::fmt::Debug>() {}
    check::<sysv::Attachment>();
    check::<DoubleView>();
}

#[test]
fn fork_inherits_and_sigkill_detaches() {
    alone(
        "sysv::attachments::fork_inherits_and_sigkill_detaches",
        || {
            let segment = private(page());
            let attachment = sysv::attach(segment.id).unwrap();
            let base = attachment.as_ptr();
            let mut child = Fork::new(|| {
                poke(base, 0, 42);
                sleep_for_ever();
            });
            // Exact at once: the fork has returned.
            assert_eq!(segment.stat().attached, 2);
            until(|| peek(base, 0) == 42);
            child.kill();
            assert_eq!(child.wait(), End::Signal(libc::SIGKILL));
            segment.wait_for_attached(1);
            drop(attachment);
            assert_eq!(segment.stat().attached, 0);
        },
    );
}

#[test]
fn exit_detaches() {
    alone("sysv::attachments::exit_detaches", || {
        let segment = private(page());
        let raw = segment.id.raw();
        let mut child = Fork::new(|| {
            // SAFETY: where the kernel likes.
            let base = unsafe { libc::shmat(raw, ptr::null(), 0) };
            poke(base.cast(), 0, 42);
            exit_now(0);
        });
        assert_eq!(child.wait(), End::Exit(0));
        segment.wait_for_attached(0);
        let attachment = sysv::attach(segment.id).unwrap();
        assert_eq!(peek(attachment.as_ptr(), 0), 42);
    });
}

#[test]
fn exec_detaches() {
    alone("sysv::attachments::exec_detaches", || {
        let segment = private(page());
        let attachment = sysv::attach(segment.id).unwrap();
        let program = c"sleep".as_ptr();
        let argv = [program, c"1000".as_ptr(), ptr::null()];
        let mut gate = [0; 2];
        // SAFETY: two ints.
        assert_eq!(unsafe { libc::pipe(gate.as_mut_ptr()) }, 0);
        let [gate_out, gate_in] = gate;
        let mut child = Fork::new(|| {
            let mut byte = 0_u8;
            // SAFETY: one byte into one byte; waits for the parent.
            unsafe { libc::read(gate_out, (&raw mut byte).cast(), 1) };
            // SAFETY: strings that end in zero bytes, and an array that ends in null.
            unsafe { libc::execvp(program, argv.as_ptr()) };
            exit_now(127);
        });
        assert_eq!(segment.stat().attached, 2);
        // SAFETY: one byte from a string; opens the gate.
        assert_eq!(unsafe { libc::write(gate_in, c"x".as_ptr().cast(), 1) }, 1);
        segment.wait_for_attached(1);
        // It is the exec that detached it: the process is there, and it is sleep.
        assert!(child.is_running());
        let comm = format!("/proc/{}/comm", child.pid());
        // The kernel changes the name after the memory.
        until(|| fs::read_to_string(&comm).unwrap().trim() == "sleep");
        drop(attachment);
    });
}

#[test]
fn removed_segment_lives_until_the_last_detach() {
    alone(
        "sysv::attachments::removed_segment_lives_until_the_last_detach",
        || {
            let (key, old) = keyed(page());
            let attachment = sysv::attach(old.id).unwrap();
            poke(attachment.as_ptr(), 0, 1);
            sysv::remove(old.id).unwrap();
            let stat = old.stat();
            assert!(stat.marked_for_removal);
            assert_eq!((stat.key_raw, stat.mode), (0, Mode::OWNER_ONLY));

            // Not by key any more; by id as long as someone is attached.
            assert_eq!(kind(sysv::open(key)), SysvErrorKind::NotFound);
            let by_id = sysv::attach(old.id).unwrap();
            assert_eq!(peek(by_id.as_ptr(), 0), 1);
            assert_eq!(old.stat().attached, 2);

            // The key serves another segment meanwhile.
            let id = sysv::create(Some(key), page(), Mode::OWNER_ONLY).unwrap();
            let new = Segment { id };
            assert_ne!(new.id, old.id);

            drop(attachment);
            assert_eq!(old.stat().attached, 1);
            drop(by_id);
            assert_eq!(kind(sysv::stat(old.id)), SysvErrorKind::Removed);
            assert_eq!(sysv::open(key).unwrap(), new.id);
        },
    );
}
