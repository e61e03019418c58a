//! The descriptor: readable from the first cause on, until a try finds nothing.

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Instant;

use shmpipe::set::{AsEnd, End, EndMut};
use shmpipe::{
    Broken, Consumer, Options, Role, TryReadError, TryWriteError, WaitError, WaitPolicy, WaitSet,
};

use crate::common::offsets::TAIL;
use crate::common::{
    End as Ended, Exec, Fork, TempPath, alone, exit_now, filter, kill_self, part, poke, sleeps,
    until,
};
use crate::{is_readable_within, pair, ring, until_readable};

/// Longer than several slices, in milliseconds: what is to come comes within one.
const SLICES: i32 = 100;

#[test]
fn it_is_readable_until_a_try_finds_nothing() {
    let (mut producer, consumer) = pair();
    let mut set = WaitSet::from(consumer);
    let descriptor = set.poll_fd().unwrap();
    assert!(
        is_readable_within(&descriptor, 0),
        "no try has found nothing"
    );
    assert_eq!(set.try_wait(), Ok(None));
    assert!(!is_readable_within(&descriptor, SLICES));
    for _ in 0..100 {
        producer.try_write(b"ab").unwrap();
        until_readable(&descriptor);
        // As long as a try finds something, whoever it is that looks.
        for _ in 0..2 {
            assert_eq!(set.try_wait(), Ok(Some(0)));
            assert!(is_readable_within(&descriptor, 0));
            assert_eq!(set[0].try_read(&mut [0; 1]), Ok(1));
            assert!(is_readable_within(&descriptor, 0));
        }
        assert_eq!(set.try_wait(), Ok(None));
        assert!(!is_readable_within(&descriptor, 0));
    }
}

#[test]
fn each_call_lends_another_descriptor_closed_on_exec() {
    let (mut producer, consumer) = pair();
    let mut set = WaitSet::from(consumer);
    let (one, two) = (set.poll_fd().unwrap(), set.poll_fd().unwrap());
    assert_ne!(one.as_raw_fd(), two.as_raw_fd());
    for descriptor in [&one, &two] {
        // SAFETY: an integer.
        let flags = unsafe { libc::fcntl(descriptor.as_raw_fd(), libc::F_GETFD) };
        assert_eq!(flags & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
    }
    drop(one);
    assert_eq!(set.try_wait(), Ok(None));
    assert!(!is_readable_within(&two, 0));
    producer.try_write(b"x").unwrap();
    until_readable(&two);
}

/// What leaves a member unwatched makes the descriptor readable, until the next try.
#[test]
fn it_is_readable_after_whatever_disarms() {
    let (mut producer, consumer) = pair();
    let (_other, second) = pair();
    let mut set = WaitSet::from(consumer);
    let descriptor = set.poll_fd().unwrap();
    let disarmed = |set: &mut WaitSet, disarm: &mut dyn FnMut(&mut WaitSet)| {
        assert_eq!(set.try_wait(), Ok(None));
        assert!(!is_readable_within(&descriptor, 0));
        disarm(set);
        assert!(is_readable_within(&descriptor, 0));
    };
    disarmed(&mut set, &mut |set| {
        let waited = set.wait_deadline(Instant::now());
        assert_eq!(waited, Err(WaitError::TimedOut));
    });
    disarmed(&mut set, &mut |set| {
        set[0].try_read(&mut [0]).unwrap_err();
    });
    disarmed(&mut set, &mut |set| set.set_low_water_mark(0, 2));
    let mut second = Some(second);
    disarmed(&mut set, &mut |set| {
        set.insert(second.take().unwrap());
    });
    // A removal leaves no member unwatched.
    assert_eq!(set.try_wait(), Ok(None));
    set.remove(1);
    assert!(!is_readable_within(&descriptor, 0));
    // What was set meanwhile holds for the armed member, too.
    producer.try_write(b"x").unwrap();
    assert!(!is_readable_within(&descriptor, 0));
    producer.try_write(b"x").unwrap();
    until_readable(&descriptor);
    assert_eq!(set.try_wait(), Ok(Some(0)));
}

/// The next caller takes the armed handle to pieces, and waits with it by itself.
#[test]
fn a_handle_of_an_armed_set_can_be_waited_with() {
    let (mut producer, consumer) = pair();
    let mut set = WaitSet::from(consumer);
    let descriptor = set.poll_fd().unwrap();
    for _ in 0..20 {
        assert_eq!(set.try_wait(), Ok(None));
        let writing = std::thread::scope(|scope| {
            let writing = scope.spawn(|| producer.write_all(&[7; 5000]));
            set[0].read_exact(&mut [0; 5000]).unwrap();
            writing.join().unwrap()
        });
        writing.unwrap();
        assert!(is_readable_within(&descriptor, 0));
    }
    assert_eq!(set.try_wait(), Ok(None));
    let mut consumer = set.remove(0).unwrap();
    producer.try_write(b"x").unwrap();
    assert_eq!(consumer.try_read(&mut [0; 9]), Ok(1));
}

/// What a peer does to an armed member.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Cause {
    Bytes,
    LittleRoom,
    Room,
    Close,
    Abort,
    Exit,
    Kill,
    Lie,
}

/// Has the peer of `role` act in another process once the member is armed.
fn after(cause: Cause, role: Role) {
    let mut ring = Some(ring(4096));
    let mut child = Fork::new(|| {
        let (mut producer, mut consumer) = (None, None);
        let ring = ring.take().unwrap();
        let id = match role {
            Role::Producer => producer.insert(ring.into_producer().unwrap()).id(),
            Role::Consumer => consumer.insert(ring.into_consumer().unwrap()).id(),
        };
        let id = id.unwrap();
        until(|| sleeps(id, role.peer()));
        match cause {
            Cause::Bytes => producer.as_mut().unwrap().write_all(b"x").unwrap(),
            Cause::LittleRoom => consumer.as_mut().unwrap().read_exact(&mut [0; 1]).unwrap(),
            Cause::Room => consumer
                .as_mut()
                .unwrap()
                .read_exact(&mut [0; 1024])
                .unwrap(),
            Cause::Close => drop((producer, consumer)),
            Cause::Abort => producer.as_mut().unwrap().abort(),
            Cause::Exit => exit_now(0),
            Cause::Kill => kill_self(),
            Cause::Lie => poke(id, TAIL, &u64::MAX.to_ne_bytes()),
        }
        std::thread::sleep(crate::common::PATIENCE); // it is killed
    });
    let ring = ring.take().unwrap();
    let end = match role {
        Role::Producer => End::from(ring.into_consumer().unwrap()),
        Role::Consumer => {
            let mut producer = ring.into_producer().unwrap();
            producer.try_write(&[7; 4096]).unwrap();
            End::from(producer)
        }
    };
    let mut set = WaitSet::from(end);
    let descriptor = set.poll_fd().unwrap();
    assert_eq!(set.try_wait(), Ok(None));
    until_readable(&descriptor);
    let mut found = None;
    until(|| {
        found = set.try_wait().unwrap();
        found.is_some()
    });
    assert!(is_readable_within(&descriptor, 0));
    let what = match &mut set[0] {
        End::Consumer(consumer) => match consumer.try_read(&mut [0; 9]) {
            Ok(0) => Cause::Close,
            Ok(_) => Cause::Bytes,
            Err(TryReadError::Broken(Broken::ProducerAborted)) => Cause::Abort,
            Err(TryReadError::Broken(Broken::Died { .. })) => Cause::Kill,
            Err(TryReadError::Broken(Broken::Corrupted(_))) => Cause::Lie,
            other => panic!("{other:?} after {cause:?}"),
        },
        End::Producer(producer) => match producer.try_write(&[7; 9]) {
            Ok(1) => Cause::LittleRoom,
            Ok(_) => Cause::Room,
            Err(TryWriteError::Broken(Broken::ConsumerClosed)) => Cause::Close,
            Err(TryWriteError::Broken(Broken::Died { .. })) => Cause::Kill,
            other => panic!("{other:?} after {cause:?}"),
        },
    };
    let expected = if cause == Cause::Exit {
        Cause::Kill
    } else {
        cause
    };
    assert_eq!(what, expected);
    drop(set);
    if child.is_running() {
        child.kill();
    }
    assert!(matches!(
        child.wait(),
        Ended::Exit(0) | Ended::Signal(libc::SIGKILL)
    ));
}

const BY_PRODUCER: [Cause; 6] = [
    Cause::Bytes,
    Cause::Close,
    Cause::Abort,
    Cause::Exit,
    Cause::Kill,
    Cause::Lie,
];
const BY_CONSUMER: [Cause; 5] = [
    Cause::Room,
    Cause::LittleRoom,
    Cause::Close,
    Cause::Exit,
    Cause::Kill,
];

#[test]
fn each_cause_in_another_process_makes_it_readable() {
    alone(
        "descriptor::each_cause_in_another_process_makes_it_readable",
        || {
            BY_PRODUCER
                .into_iter()
                .for_each(|cause| after(cause, Role::Producer));
            BY_CONSUMER
                .into_iter()
                .for_each(|cause| after(cause, Role::Consumer));
        },
    );
}

#[test]
fn each_cause_makes_it_readable_without_waitv() {
    alone(
        "descriptor::each_cause_makes_it_readable_without_waitv",
        || {
            filter::lack(libc::SYS_futex_waitv);
            BY_PRODUCER
                .into_iter()
                .for_each(|cause| after(cause, Role::Producer));
            BY_CONSUMER
                .into_iter()
                .for_each(|cause| after(cause, Role::Consumer));
        },
    );
}

#[test]
fn a_cancel_flag_makes_it_readable() {
    let flag = Arc::new(AtomicBool::new(false));
    let mut options = Options::new();
    let ring = options
        .cancel_on(Arc::clone(&flag))
        .create_anonymous()
        .unwrap();
    let (_producer, consumer) = ring.split().unwrap();
    let mut set = WaitSet::from(consumer);
    let descriptor = set.poll_fd().unwrap();
    assert_eq!(set.try_wait(), Ok(None));
    flag.store(true, Ordering::Relaxed);
    until_readable(&descriptor);
    assert_eq!(set.try_wait(), Err(WaitError::Cancelled));
    assert!(is_readable_within(&descriptor, 0));
    flag.store(false, Ordering::Relaxed);
    assert_eq!(set.try_wait(), Ok(None));
    assert!(!is_readable_within(&descriptor, 0));
}

/// The death in a persistent ring is returned once. Until a successor comes, the descriptor rests.
#[test]
fn a_death_where_others_can_follow_makes_it_readable_once() {
    alone(
        "descriptor::a_death_where_others_can_follow_makes_it_readable_once",
        || {
            let path = TempPath::new();
            let mut options = Options::new();
            options.persistent(true).resume(true).capacity(4096);
            let consumer = options.open_consumer(&path).unwrap();
            let id = consumer.id().unwrap();
            let mut set = WaitSet::from(consumer);
            let descriptor = set.poll_fd().unwrap();
            for _ in 0..3 {
                let mut child = Fork::new(|| {
                    let mut producer = options.open_producer(&path).unwrap();
                    until(|| sleeps(id, Role::Consumer));
                    producer.write_all(b"abc").unwrap();
                    until(|| sleeps(id, Role::Consumer));
                    kill_self();
                });
                let (mut received, mut deaths) = (0, 0);
                while deaths == 0 {
                    until_readable(&descriptor);
                    while set.try_wait().unwrap().is_some() {
                        match set[0].try_read(&mut [0; 9]) {
                            Ok(len) => received += len,
                            Err(TryReadError::Broken(Broken::Died { .. })) => deaths += 1,
                            other => panic!("{other:?}"),
                        }
                    }
                }
                assert_eq!((received, deaths), (3, 1));
                child.wait();
                // The wake of the death itself may still be on the way.
                until(|| set.try_wait() == Ok(None) && !is_readable_within(&descriptor, SLICES));
            }
        },
    );
}

/// A blocking wait disarms, and the next try arms again.
#[test]
fn blocking_waits_and_tries_alternate() {
    let (mut producer, consumer) = pair();
    let mut set = WaitSet::from(consumer);
    set.set_wait_policy(WaitPolicy::Park);
    let descriptor = set.poll_fd().unwrap();
    for _ in 0..50 {
        assert_eq!(set.try_wait(), Ok(None));
        let (waited, ()) =
            crate::common::once_asleep(|| set.wait(), |_| producer.write_all(b"x").unwrap());
        assert_eq!(waited, Ok(Some(0)));
        set[0].read_exact(&mut [0]).unwrap();
        assert_eq!(set.try_wait(), Ok(None));
        assert!(!is_readable_within(&descriptor, 0));
        producer.write_all(b"x").unwrap();
        until_readable(&descriptor);
        assert_eq!(set.try_wait(), Ok(Some(0)));
        set[0].read_exact(&mut [0]).unwrap();
    }
}

/// A set that is dropped while it is armed still waits for a child, or the child would find neither
/// the ring nor its bytes.
#[test]
fn a_dropped_armed_set_waits_for_a_child() {
    if part().is_some() {
        std::thread::sleep(std::time::Duration::from_millis(300)); // long after the drop
        let mut bytes = Vec::new();
        let mut consumer = Consumer::from_parent().unwrap();
        consumer.read_to_end(&mut bytes).unwrap();
        return assert_eq!(bytes, [7; 4096]);
    }
    let mut command = Exec::command("descriptor::a_dropped_armed_set_waits_for_a_child", "child");
    let (mut producer, child) = ring(4096).spawn_consumer(&mut command).unwrap();
    let mut child = Exec::from(child);
    producer.try_write(&[7; 4096]).unwrap();
    let mut set = WaitSet::from(End::from(producer));
    let descriptor = set.poll_fd().unwrap();
    assert_eq!(set.try_wait(), Ok(None));
    assert!(!is_readable_within(&descriptor, SLICES));
    drop(set);
    assert!(child.wait().success());
}

/// A member whose [`AsEnd`] panics at the call with this number from now on.
struct Panics {
    consumer: Consumer,
    left: Arc<AtomicU32>,
}

impl AsEnd for Panics {
    fn as_end(&mut self) -> EndMut<'_> {
        let left = self.left.load(Ordering::Relaxed);
        self.left.store(left.saturating_sub(1), Ordering::Relaxed);
        assert_ne!(left, 1, "the panic of the test");
        EndMut::Consumer(&mut self.consumer)
    }
}

/// A member that panics while the set arms may be left unwatched, so the descriptor stays readable.
#[test]
fn it_is_readable_after_a_member_has_panicked() {
    let mut panics = 0;
    for number in 1..=8 {
        let (mut producer, consumer) = pair();
        let left = Arc::new(AtomicU32::new(0));
        let mut set = WaitSet::from(Panics {
            consumer,
            left: Arc::clone(&left),
        });
        let descriptor = set.poll_fd().unwrap();
        left.store(number, Ordering::Relaxed);
        let tried = catch_unwind(AssertUnwindSafe(|| set.try_wait()));
        panics += u32::from(tried.is_err());
        left.store(0, Ordering::Relaxed);
        producer.try_write(b"x").unwrap();
        assert!(is_readable_within(&descriptor, 10_000), "panic {number}");
        assert_eq!(set.try_wait(), Ok(Some(0)));
        // As good as new.
        set[0].consumer.try_read(&mut [0; 9]).unwrap();
        assert_eq!(set.try_wait(), Ok(None));
        producer.try_write(b"x").unwrap();
        until_readable(&descriptor);
    }
    assert!(
        panics >= 3,
        "{panics}: a try asks for the handle several times"
    );
}
