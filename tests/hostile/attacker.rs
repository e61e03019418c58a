//! A process that has a ring attached and does whatever it likes to it.

use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use shmpipe::sysv::{self, Attachment, Mode, SegmentId};

use crate::common::offsets::{HEAD, MARKS_ACKNOWLEDGED, MARKS_MADE, SLEEPING, TAIL, WANTED, mark};
use crate::common::random::{any, dawdle, edge};
use fastrand::Rng;

pub(crate) use crate::common::offsets::{HEADER, OWNERS, SIGNALS, STATE};
/// What lies before the marks.
const LINES: usize = 1024;
pub(crate) const POSITIONS: [usize; 2] = [TAIL, HEAD];

/// What an attack consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attack {
    /// Nothing: the stream must be whole.
    Nothing,
    /// Random words, anywhere.
    Anywhere,
    /// Random words in the header.
    Header,
    /// Words that a peer might write, at the wrong time.
    Plausible,
    /// Ends that nobody has made, and their counts.
    Ends,
    /// Random words, each put back after a moment.
    Flicker,
    /// Random bytes in the ring: they are the peer's to choose.
    Payload,
    /// False wakes, taken wakes, sleepers moved to another word.
    Wakes,
    /// `shmctl(2)`, `madvise(2)` and more attachments.
    Kernel,
}

impl Attack {
    pub(crate) const ALL: [Attack; 9] = [
        Attack::Nothing,
        Attack::Anywhere,
        Attack::Header,
        Attack::Plausible,
        Attack::Ends,
        Attack::Flicker,
        Attack::Payload,
        Attack::Wakes,
        Attack::Kernel,
    ];
}

/// The segment as the attacker has it, to be written to word by word.
pub(crate) struct Prey(Attachment);

impl Prey {
    pub(crate) fn new(id: SegmentId) -> Option<Prey> {
        sysv::attach(id).ok().map(Prey)
    }

    pub(crate) fn word(&self, offset: usize) -> &AtomicU64 {
        assert!(offset.is_multiple_of(8) && offset + 8 <= self.0.len());
        // SAFETY: aligned and inside the attachment, which is borrowed.
        unsafe { AtomicU64::from_ptr(self.0.as_ptr().wrapping_add(offset).cast()) }
    }

    pub(crate) fn half(&self, offset: usize) -> &AtomicU32 {
        assert!(offset.is_multiple_of(4) && offset + 4 <= self.0.len());
        // SAFETY: as above.
        unsafe { AtomicU32::from_ptr(self.0.as_ptr().wrapping_add(offset).cast()) }
    }

    /// One act of the attack.
    pub(crate) fn act(&self, attack: Attack, random: &mut Rng) {
        match attack {
            Attack::Nothing => std::thread::sleep(Duration::from_micros(200)),
            Attack::Anywhere => self.scribble(0..self.0.len(), random),
            Attack::Header => {
                let end = any(random, &[LINES, HEADER]);
                self.scribble(0..end, random);
            }
            Attack::Ends => self.forge(random),
            Attack::Plausible => self.lie(random),
            Attack::Flicker => self.flicker(random),
            Attack::Payload => self.scribble(4096..self.0.len(), random),
            Attack::Wakes => self.wake(random),
            Attack::Kernel => self.ask_the_kernel(random),
        }
    }

    fn scribble(&self, range: std::ops::Range<usize>, random: &mut Rng) {
        let offset = range.start + 8 * random.usize(..range.len() / 8);
        self.word(offset).store(random.u64(..), Ordering::Relaxed);
    }

    fn lie(&self, random: &mut Rng) {
        let side = random.usize(..2);
        match random.u64(..9) {
            0 | 1 => {
                let word = self.word(POSITIONS[side]);
                let [now, other] =
                    [side, 1 - side].map(|side| self.word(POSITIONS[side]).load(Ordering::Relaxed));
                let by = [1, 7, 100, 4096, 4097, 1 << 20, 1 << 32, 1 << 63];
                let by = any(random, &by);
                // In range, but not where the owner is; or out of range.
                let within = match POSITIONS[side] {
                    TAIL => other.wrapping_add(random.u64(..4097)),
                    _ => other.wrapping_sub(random.u64(..4097)),
                };
                let then = [now.wrapping_add(by), now.wrapping_sub(by), within];
                word.store(any(random, &then), Ordering::Relaxed);
            }
            2 => {
                let words = [0, 1, 2, 3, 0x101, 0x102, 0x103, 0x1_0001, u64::MAX];
                let word = any(random, &words);
                self.word(SIGNALS[side]).store(word, Ordering::Relaxed);
            }
            3 => {
                let word = random.u32(..3);
                self.half(SIGNALS[side] + SLEEPING)
                    .store(word, Ordering::Relaxed);
                self.word(SIGNALS[side] + WANTED)
                    .store(edge(random), Ordering::Relaxed);
            }
            4 => {
                // A nibble or a generation of the life-cycle word.
                let (shift, len) = any(random, &[(0, 8), (8, 4), (12, 4), (16, 16), (32, 16)]);
                let mask = ((1 << len) - 1) << shift;
                let bits = random.u64(..6) << shift & mask;
                let word = self.word(STATE);
                let now = word.load(Ordering::Relaxed);
                word.store(now & !mask | bits, Ordering::Relaxed);
            }
            7 | 8 => self.lie_about_ends(random),
            5 => {
                // Another process: the first, ourselves, a thread of nobody.
                let pids = [1, std::process::id(), 4_194_304, 4_194_303, 0];
                let pid = u64::from(any(random, &pids));
                let word = self.word(OWNERS[side]);
                let rest = word.load(Ordering::Relaxed) & ((1 << 42) - 1);
                word.store(pid << 42 | rest, Ordering::Relaxed);
            }
            _ => {
                // The rest of a record: start time, namespaces, attachments, what it can.
                let offset = OWNERS[side] + 8 + 8 * random.usize(..4);
                self.word(offset).store(edge(random), Ordering::Relaxed);
            }
        }
    }

    /// Writes marks that may be true, and counts of them that may not.
    fn lie_about_ends(&self, random: &mut Rng) {
        let load = |offset| self.word(offset).load(Ordering::Relaxed);
        match random.u64(..3) {
            0 => {
                let word = any(random, &[MARKS_MADE, MARKS_ACKNOWLEDGED]);
                let by = any(random, &[1, 2, 126, 127, 128, 1 << 32, u64::MAX]);
                let then = load(word).wrapping_add(by);
                self.word(word).store(then, Ordering::Relaxed);
            }
            1 => {
                // A mark somewhere between the positions, or a little beyond.
                let slot = mark(load(MARKS_MADE));
                let position = load(HEAD).wrapping_add(random.u64(..4100));
                self.word(slot).store(position, Ordering::Relaxed);
                let number = random.u64(..);
                let ending = any(random, &[1, 2, 3, 7 << 8 | 3, 0, number]);
                self.word(slot + 8).store(ending, Ordering::Relaxed);
                let made = load(MARKS_MADE).wrapping_add(1);
                self.word(MARKS_MADE).store(made, Ordering::Release);
            }
            _ => {
                // The next mark, while it is being looked at.
                let slot = mark(load(MARKS_ACKNOWLEDGED)) + 8 * random.usize(..2);
                self.word(slot).store(edge(random), Ordering::Relaxed);
            }
        }
    }

    /// An end near the next one that is read, near where the reader is; or a
    /// count that is wrong.
    fn forge(&self, random: &mut Rng) {
        let load = |offset| self.word(offset).load(Ordering::Relaxed);
        match random.u64(..6) {
            0 => {
                let side = random.usize(..2);
                // Claims, or ends.
                let offset = SIGNALS[side] + any(random, &[24, 32]);
                let by = any(random, &[1, 2, 126, 127, 128, 1 << 63, u64::MAX]);
                let word = load(offset).wrapping_add(by);
                self.word(offset).store(word, Ordering::Relaxed);
            }
            1 => {
                let place = mark(random.u64(..)) + 8 * random.usize(..2);
                self.word(place).store(edge(random), Ordering::Relaxed);
            }
            _ => {
                let number = load(MARKS_ACKNOWLEDGED).wrapping_add(random.u64(..3));
                let place = mark(number);
                let (tail, head) = (load(POSITIONS[0]), load(POSITIONS[1]));
                let near = any(random, &[head, tail]);
                let position = near.wrapping_add(random.u64(..5)).wrapping_sub(2);
                let endings = [0, 1, 2, 3, 4, 0x101, 7 << 8 | 3, u64::MAX];
                let ending = any(random, &endings);
                self.word(place).store(position, Ordering::Relaxed);
                self.word(place + 8).store(ending, Ordering::Relaxed);
                if random.u64(..3) > 0 {
                    self.word(MARKS_MADE)
                        .store(number.wrapping_add(1), Ordering::Relaxed);
                }
            }
        }
        dawdle(random, 500);
    }

    fn flicker(&self, random: &mut Rng) {
        let words = any(random, &[LINES, LINES, HEADER]) / 8;
        let word = self.word(8 * random.usize(..words));
        let now = word.load(Ordering::Relaxed);
        word.store(random.u64(..), Ordering::Relaxed);
        dawdle(random, 500);
        word.store(now, Ordering::Relaxed);
        dawdle(random, 500);
    }

    fn wake(&self, random: &mut Rng) {
        let side = random.usize(..2);
        let word = self.half(SIGNALS[side] + SLEEPING);
        let elsewhere = self.half(4096);
        match random.u64(..6) {
            0 => word.store(0, Ordering::Relaxed), // takes a wake away
            1 => word.store(random.u32(..), Ordering::Relaxed),
            2 => self
                .word(SIGNALS[side] + WANTED)
                .store(edge(random), Ordering::Relaxed),
            3 => {
                // SAFETY: both words are in the attachment; the kernel uses
                // them as names. Sleepers on the first then sleep on the
                // second.
                unsafe {
                    libc::syscall(
                        libc::SYS_futex,
                        word.as_ptr(),
                        libc::FUTEX_REQUEUE,
                        0,
                        i32::MAX as libc::c_long,
                        elsewhere.as_ptr(),
                    )
                };
            }
            _ => {
                word.store(0, Ordering::Relaxed);
                // SAFETY: the kernel uses the word as a name.
                unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, 9) };
            }
        }
    }

    /// What it may not do fails, and that is as good.
    fn ask_the_kernel(&self, random: &mut Rng) {
        let id = self.0.id();
        match random.u64(..8) {
            0 => {
                let mode = any(random, &[0, 0o400, 0o600, 0o777]);
                let _ = sysv::set(id, uid(), 0, Mode::new(mode).unwrap());
            }
            1 => {
                let _ = sysv::set(id, 65534, 65534, Mode::new(0o600).unwrap());
            }
            2 => {
                let _ = sysv::remove(id);
            }
            3 | 4 => {
                let command = any(random, &[libc::SHM_LOCK, libc::SHM_UNLOCK]);
                // SAFETY: these two commands take no buffer.
                unsafe { libc::shmctl(id.raw(), command, std::ptr::null_mut()) };
            }
            5 => {
                // A hole is a page of zeros.
                let page = 4096 * random.usize(..self.0.len() / 4096);
                let start = self.0.as_ptr().wrapping_add(page).cast();
                // SAFETY: a page of the attachment, of which no Rust reference
                // is left.
                unsafe { libc::madvise(start, 4096, libc::MADV_REMOVE) };
            }
            6 => drop(sysv::attach(id)),
            _ => {
                let _ = sysv::set(id, uid(), 0, Mode::new(0o600).unwrap());
            }
        }
        std::thread::sleep(Duration::from_micros(random.u64(..300)));
    }
}

fn uid() -> u32 {
    // SAFETY: no arguments.
    unsafe { libc::geteuid() }
}

/// Attacks each ring it is told of until it is told of the next. An order is
/// an id, an attack, and microseconds between two acts; it is answered once
/// the attack has begun.
pub(crate) fn attack_to_order(mut orders: io::PipeReader, mut ready: io::PipeWriter) {
    let mut random = Rng::with_seed(99);
    let mut order = [0; 12];
    while orders.read_exact(&mut order).is_ok() {
        let [id, attack, pause] =
            [0, 4, 8].map(|at| i32::from_ne_bytes(order[at..at + 4].try_into().unwrap()));
        let prey = Prey::new(SegmentId::from_raw(id).unwrap()).expect("the victim holds it");
        let attack = Attack::ALL[attack as usize];
        let pause = Duration::from_micros(pause as u64);
        ready.write_all(&[1]).unwrap();
        while !has_input(&orders) {
            let start = Instant::now();
            for _ in 0..64 {
                prey.act(attack, &mut random);
                if !pause.is_zero() {
                    std::thread::sleep(pause);
                }
                if start.elapsed() > Duration::from_millis(2) {
                    break;
                }
            }
        }
    }
}

/// Whether the next read of a pipe returns at once.
fn has_input(pipe: &io::PipeReader) -> bool {
    let mut entry = libc::pollfd {
        fd: std::os::fd::AsRawFd::as_raw_fd(pipe),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one live pollfd, and the count is one.
    unsafe { libc::poll(&raw mut entry, 1, 0) != 0 }
}
